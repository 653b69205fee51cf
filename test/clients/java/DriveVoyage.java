import dev.langchain4j.model.voyageai.VoyageAiScoringModel;

/** With the HTTP client of the JDK, which asks for an upgrade to HTTP/2. */
final class DriveVoyage {
  public static void main(String[] args) throws Exception {
    Harness.call(
        args[0],
        "VoyageAiScoringModel.scoreAll",
        () ->
            VoyageAiScoringModel.builder()
                .baseUrl(Harness.URL + "/v1/")
                .apiKey(Harness.KEY)
                .modelName(Harness.MODEL)
                .maxRetries(0)
                .build());
    Harness.call(
        args[0],
        "VoyageAiScoringModel.scoreAll, truncation(false)",
        () ->
            VoyageAiScoringModel.builder()
                .baseUrl(Harness.URL + "/v1/")
                .apiKey(Harness.KEY)
                .modelName(Harness.MODEL)
                .truncation(false)
                .maxRetries(0)
                .build());
  }
}
