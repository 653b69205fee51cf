import dev.langchain4j.model.cohere.CohereScoringModel;

final class DriveCohere {
  public static void main(String[] args) throws Exception {
    Harness.call(
        args[0],
        "CohereScoringModel.scoreAll",
        () ->
            CohereScoringModel.builder()
                .baseUrl(Harness.URL + "/v1/")
                .apiKey(Harness.KEY)
                .modelName(Harness.MODEL)
                .maxRetries(0)
                .build());
  }
}
