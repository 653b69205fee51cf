import dev.langchain4j.model.jina.JinaScoringModel;

final class DriveJina {
  public static void main(String[] args) throws Exception {
    Harness.call(
        args[0],
        "JinaScoringModel.scoreAll",
        () ->
            JinaScoringModel.builder()
                .baseUrl(Harness.URL + "/v1/")
                .apiKey(Harness.KEY)
                .modelName(Harness.MODEL)
                .maxRetries(0)
                .build());
  }
}
