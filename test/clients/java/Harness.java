import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.langchain4j.data.segment.TextSegment;
import dev.langchain4j.model.scoring.ScoringModel;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/** What the drivers share: the question, and the lines that the runner reads. */
final class Harness {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final JsonNode QUESTION = read(System.getenv("WINNOW_QUESTION"));

  static final String URL = System.getenv("WINNOW_URL");
  static final String MODEL = QUESTION.get("model").asText();
  static final String KEY = "any";

  private Harness() {}

  interface Models {
    ScoringModel get() throws Exception;
  }

  private static JsonNode read(String text) {
    try {
      return JSON.readTree(text);
    } catch (Exception error) {
      throw new IllegalArgumentException(error);
    }
  }

  /** Scores the passages in one call, and prints them in the order of falling scores. */
  static void call(String client, String name, Models models) throws Exception {
    ObjectNode line = JSON.createObjectNode().put("version", client).put("call", name);
    List<TextSegment> segments = new ArrayList<>();
    QUESTION.get("documents").forEach(document -> segments.add(TextSegment.from(document.asText())));
    try {
      List<Double> scores = models.get().scoreAll(segments, QUESTION.get("query").asText()).content();
      ArrayNode ranked = line.putArray("ranked");
      IntStream.range(0, scores.size())
          .boxed()
          .sorted(Comparator.comparing((Integer i) -> -scores.get(i)))
          .forEach(i -> ranked.addArray().add(i).add(scores.get(i)));
      line.put("want", segments.size());
    } catch (Exception error) {
      error.printStackTrace();
      line.put("error", String.valueOf(error));
    }
    System.out.println(JSON.writeValueAsString(line));
    System.in.read();
  }
}
