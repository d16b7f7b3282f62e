import com.sun.net.httpserver.*;
import java.io.*;
import java.net.*;
import java.net.http.*;
import java.nio.file.*;
import java.security.*;
import java.util.*;
import java.util.concurrent.*;

public class Net {
  public static void main(String[] args) throws Exception {
    ServerSocket server = new ServerSocket(0, 10, InetAddress.getLoopbackAddress());
    System.out.println("port " + server.getLocalPort());
    ExecutorService pool = Executors.newCachedThreadPool();
    pool.execute(() -> {
      try {
        for (int i = 0; i < 8; i++) {
          Socket socket = server.accept();
          pool.execute(() -> {
            try (socket) {
              BufferedReader in = new BufferedReader(new InputStreamReader(socket.getInputStream()));
              PrintWriter out = new PrintWriter(socket.getOutputStream(), true);
              for (String line; (line = in.readLine()) != null; ) out.println(socket.getPort() + " " + line + " " + System.nanoTime());
            } catch (IOException e) {
              throw new UncheckedIOException(e);
            }
          });
        }
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    });
    List<Future<String>> answers = new ArrayList<>();
    for (int i = 0; i < 8; i++) {
      int number = i;
      answers.add(pool.submit(() -> {
        try (Socket socket = new Socket(server.getInetAddress(), server.getLocalPort())) {
          PrintWriter out = new PrintWriter(socket.getOutputStream(), true);
          BufferedReader in = new BufferedReader(new InputStreamReader(socket.getInputStream()));
          out.println("hello " + number);
          return in.readLine();
        }
      }));
    }
    for (Future<String> answer : answers) System.out.println(answer.get());
    HttpServer http = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    http.createContext("/", exchange -> {
      byte[] body = ("asked for " + exchange.getRequestURI() + " at " + System.nanoTime()).getBytes();
      exchange.sendResponseHeaders(200, body.length);
      exchange.getResponseBody().write(body);
      exchange.close();
    });
    http.start();
    HttpClient client = HttpClient.newHttpClient();
    List<CompletableFuture<String>> pages = new ArrayList<>();
    for (int i = 0; i < 5; i++) {
      URI uri = URI.create("http://127.0.0.1:" + http.getAddress().getPort() + "/" + i);
      pages.add(client.sendAsync(HttpRequest.newBuilder(uri).build(), HttpResponse.BodyHandlers.ofString()).thenApply(HttpResponse::body));
    }
    for (CompletableFuture<String> page : pages) System.out.println(page.get());
    http.stop(0);
    Process child = new ProcessBuilder("sh", "-c", "read x; echo $$ $x; exit 4").start();
    child.getOutputStream().write("input\n".getBytes());
    child.getOutputStream().close();
    System.out.println(new String(child.getInputStream().readAllBytes()).trim() + " " + child.waitFor());
    Path file = Files.createTempFile("net", ".txt");
    Files.writeString(file, "content " + new SecureRandom().nextLong());
    System.out.println(file + " " + Files.readString(file) + " " + Files.getLastModifiedTime(file));
    pool.shutdown();
    System.exit(pool.awaitTermination(10, TimeUnit.SECONDS) ? 0 : 1);
  }
}
