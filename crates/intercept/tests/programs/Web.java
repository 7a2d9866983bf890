import com.sun.net.httpserver.HttpServer;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * A web server and a client of Java, whose sockets are of both families wherever they can be.
 *
 * <pre>
 * java Web serve ADDRESS PORT    serves the files of this directory
 * java Web fetch URL TIMES       fetches so many times at once and prints the SHA-256 of each answer
 * </pre>
 */
public class Web {
    public static void main(String[] arguments) throws Exception {
        int number = Integer.parseInt(arguments[2]);
        if (arguments[0].equals("serve")) {
            serve(new InetSocketAddress(arguments[1], number));
            return;
        }
        ExecutorService threads = Executors.newFixedThreadPool(8);
        List<Future<String>> sums = new ArrayList<>();
        for (int i = 0; i < number; i++) {
            sums.add(threads.submit(() -> fetch(arguments[1])));
        }
        for (Future<String> sum : sums) {
            System.out.println(sum.get());
        }
        threads.shutdown();
    }

    private static void serve(InetSocketAddress address) throws Exception {
        HttpServer server = HttpServer.create(address, 0);
        server.createContext("/", exchange -> {
            Path file = Path.of(exchange.getRequestURI().getPath()).getFileName();
            exchange.sendResponseHeaders(200, Files.size(file));
            try (OutputStream answer = exchange.getResponseBody()) {
                Files.copy(file, answer);
            }
        });
        server.setExecutor(Executors.newFixedThreadPool(8));
        server.start();
    }

    private static String fetch(String url) throws Exception {
        MessageDigest sum = MessageDigest.getInstance("SHA-256");
        try (InputStream answer = new URL(url).openStream()) {
            byte[] buffer = new byte[65536];
            for (int count; (count = answer.read(buffer)) > 0; ) {
                sum.update(buffer, 0, count);
            }
        }
        StringBuilder text = new StringBuilder();
        for (byte part : sum.digest()) {
            text.append(String.format("%02x", part));
        }
        return text.toString();
    }
}
