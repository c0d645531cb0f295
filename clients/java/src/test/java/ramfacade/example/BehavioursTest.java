package ramfacade.example;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.DescriptorProtos.FileDescriptorProto;
import com.google.rpc.ErrorInfo;
import io.grpc.Context;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthCheckResponse.ServingStatus;
import io.grpc.health.v1.HealthGrpc;
import io.grpc.reflection.v1.ServerReflectionGrpc;
import io.grpc.reflection.v1.ServerReflectionRequest;
import io.grpc.reflection.v1.ServerReflectionResponse;
import io.grpc.stub.MetadataUtils;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import ramfacade.example.Example.Refusal;
import ramfacade.v1.CreateResourceShareRequest;
import ramfacade.v1.ResourceShare;
import ramfacade.v1.ResourceShareServiceGrpc.ResourceShareServiceBlockingStub;
import ramfacade.v1.ResourceShareStatus;
import ramfacade.v1.Tag;

/** What every client must see of the service; clients/behaviours.json lists the names, clients/run.py starts the scene. */
class BehavioursTest {
  private static final JsonObject SCENE = scene();
  private static final String TOKEN = SCENE.get("token").getAsString();
  private static final HttpClient HTTP = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

  private final List<ManagedChannel> channels = new ArrayList<>();

  private static JsonObject scene() {
    try {
      return JsonParser.parseString(Files.readString(Path.of(System.getenv("SCENE")))).getAsJsonObject();
    } catch (IOException | RuntimeException error) {
      throw new IllegalStateException("SCENE names no scene; run clients/run.py", error);
    }
  }

  private static JsonObject ask(String method, String url, Object body) throws Exception {
    HttpRequest request =
        HttpRequest.newBuilder(URI.create(url))
            .method(method, HttpRequest.BodyPublishers.ofString(body == null ? "" : new Gson().toJson(body)))
            .build();
    HttpResponse<String> answer = HTTP.send(request, HttpResponse.BodyHandlers.ofString());
    assertTrue(answer.statusCode() < 300, () -> method + " " + url + ": " + answer.body());
    return answer.body().isEmpty() ? new JsonObject() : JsonParser.parseString(answer.body()).getAsJsonObject();
  }

  /** The embedded RAM behind a service. */
  private record Sandbox(String url) {
    static Sandbox reset(String url) throws Exception {
      ask("POST", url + "/_sandbox/reset", null);
      return new Sandbox(url);
    }

    void fault(String fault, int times) throws Exception {
      JsonObject rule = new JsonObject();
      rule.addProperty("operation", "CreateResourceShare");
      rule.add("fault", JsonParser.parseString(fault));
      if (times > 0) {
        rule.addProperty("times", times);
      }
      JsonArray rules = new JsonArray();
      rules.add(rule);
      JsonObject plan = new JsonObject();
      plan.add("rules", rules);
      ask("PUT", url + "/_sandbox/faults", plan);
    }

    int count(String what) throws Exception {
      JsonElement counts = ask("GET", url + "/_sandbox/stats", null).get(what);
      if (counts.isJsonObject()) {
        JsonElement creates = counts.getAsJsonObject().get("CreateResourceShare");
        return creates == null ? 0 : creates.getAsInt();
      }
      return counts.getAsInt();
    }

    void waitForRequests(int least) throws Exception {
      until(() -> count("requests") >= least);
    }
  }

  private static void until(Callable<Boolean> done) throws Exception {
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
    while (!done.call()) {
      assertTrue(System.nanoTime() < end, "it did not happen within 30 seconds");
      Thread.sleep(20);
    }
  }

  private static int tap(String what) throws Exception {
    return ask("GET", SCENE.get("control").getAsString() + "/tap", null).get(what).getAsInt();
  }

  private static String address(String server) {
    return SCENE.getAsJsonObject(server).get("address").getAsString();
  }

  private static Sandbox sandbox(String server) throws Exception {
    return Sandbox.reset(SCENE.getAsJsonObject(server).get("sandbox").getAsString());
  }

  private static ManagedChannelBuilder<?> connect(String address) throws Exception {
    return Example.connect(address, null, SCENE.get("service_config").getAsString());
  }

  private ManagedChannel open(ManagedChannelBuilder<?> builder) {
    ManagedChannel channel = builder.build();
    channels.add(channel);
    return channel;
  }

  private ResourceShareServiceBlockingStub service(String address) throws Exception {
    return Example.service(open(connect(address)), TOKEN);
  }

  private ResourceShareServiceBlockingStub main() throws Exception {
    return service(address("main"));
  }

  private static CreateResourceShareRequest.Builder share() {
    return CreateResourceShareRequest.newBuilder().setName("demo").setClientToken(UUID.randomUUID().toString());
  }

  private static String arn(ResourceShareServiceBlockingStub service, CreateResourceShareRequest.Builder request) {
    String arn = Example.create(service, request).getResourceShare().getResourceShareArn();
    assertTrue(arn.startsWith("arn:aws:ram:us-east-1:111122223333:resource-share/"), arn);
    return arn;
  }

  private static Refusal refused(ResourceShareServiceBlockingStub service, CreateResourceShareRequest.Builder request) {
    return Refusal.of(assertThrows(StatusRuntimeException.class, () -> Example.create(service, request)));
  }

  private static String reason(Refusal refusal) {
    return refusal.info().map(ErrorInfo::getReason).orElse("");
  }

  @AfterEach
  void close() {
    channels.forEach(ManagedChannel::shutdownNow);
  }

  @Test
  void create() throws Exception {
    Sandbox ram = sandbox("main");
    Tag team = Tag.newBuilder().setKey("team").setValue("network").build();

    ResourceShare made =
        Example.create(main(), share().addTags(team).setAllowExternalPrincipals(false)).getResourceShare();

    assertEquals(ResourceShareStatus.RESOURCE_SHARE_STATUS_ACTIVE, made.getStatus());
    assertTrue(made.hasAllowExternalPrincipals());
    assertFalse(made.getAllowExternalPrincipals());
    assertEquals(List.of(team), made.getTagsList());
    assertEquals(1, ram.count("executions"));
  }

  @Test
  void replay() throws Exception {
    Sandbox ram = sandbox("main");
    CreateResourceShareRequest.Builder request = share();
    ResourceShareServiceBlockingStub service = main();

    assertEquals(arn(service, request), arn(service, request));
    assertEquals(1, ram.count("executions"));
  }

  @Test
  void mismatch() throws Exception {
    Sandbox ram = sandbox("main");
    CreateResourceShareRequest.Builder request = share();
    ResourceShareServiceBlockingStub service = main();
    arn(service, request);

    Refusal refusal = refused(service, request.setName("other"));

    assertEquals(Status.Code.INVALID_ARGUMENT, refusal.code());
    assertEquals("IDEMPOTENT_PARAMETER_MISMATCH", reason(refusal));
    assertEquals(List.of("client_token"), refusal.fields().stream().map(field -> field.getField()).toList());
    assertEquals("fix your request", Example.nextStep(refusal));
    assertEquals(1, ram.count("executions"));
  }

  @Test
  void everyCodeWithTypedDetails() throws Exception {
    JsonArray rows = SCENE.getAsJsonArray("codes");
    assertFalse(rows.isEmpty());
    for (JsonElement element : rows) {
      JsonObject row = element.getAsJsonObject();
      String code = row.get("code").getAsString();
      String server = row.has("server") ? row.get("server").getAsString() : "main";
      Sandbox ram = sandbox(server);
      if (row.has("fault")) {
        ram.fault(row.get("fault").toString(), 0);
      }
      // The client's own retries would only repeat what is looked at here.
      ResourceShareServiceBlockingStub service =
          Example.service(
              open(connect(address(server)).disableRetry()), row.has("token") ? row.get("token").getAsString() : TOKEN);
      CreateResourceShareRequest request =
          share().setName(row.has("name") ? row.get("name").getAsString() : "demo").build();

      Refusal refusal = firstRefusal(service, request, row.has("callers") ? row.get("callers").getAsInt() : 1);

      List<String> details = refusal.details().stream().map(packed -> packed.getTypeUrl().replaceAll(".*\\.", "")).sorted().toList();
      assertEquals(code, refusal.code().name());
      assertEquals(row.get("domain").getAsString(), refusal.info().orElseThrow().getDomain(), code);
      assertEquals(row.get("reason").getAsString(), reason(refusal), code);
      assertEquals(texts(row, "details"), details, code);
      assertEquals(texts(row, "fields"), refusal.fields().stream().map(field -> field.getField()).toList(), code);
      assertEquals(details.contains("RetryInfo"), refusal.retryAfter().filter(delay -> !delay.isZero()).isPresent(), code);
      assertEquals(row.get("next").getAsString(), Example.nextStep(refusal), code);
    }
  }

  private static List<String> texts(JsonObject row, String member) {
    List<String> texts = new ArrayList<>();
    if (row.has(member)) {
      row.getAsJsonArray(member).forEach(text -> texts.add(text.getAsString()));
    }
    return texts;
  }

  private static Refusal firstRefusal(
      ResourceShareServiceBlockingStub service, CreateResourceShareRequest request, int callers) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(callers);
    try {
      List<Callable<Refusal>> calls = new ArrayList<>();
      for (int i = 0; i < callers; i++) {
        calls.add(
            () -> {
              try {
                Example.create(service, request.toBuilder());
                return null;
              } catch (StatusRuntimeException error) {
                return Refusal.of(error);
              }
            });
      }
      for (Future<Refusal> call : pool.invokeAll(calls)) {
        if (call.get() != null) {
          return call.get();
        }
      }
      throw new AssertionError("nobody was refused");
    } finally {
      pool.shutdown();
    }
  }

  @Test
  void deadlineExceeded() throws Exception {
    Sandbox ram = sandbox("main");
    ram.fault("{\"kind\": \"delay\", \"ms\": 3000}", 1);
    CreateResourceShareRequest request = share().build();
    ResourceShareServiceBlockingStub service = main();
    long began = System.nanoTime();

    Refusal refusal =
        Refusal.of(
            assertThrows(
                StatusRuntimeException.class,
                () -> service.withDeadlineAfter(300, TimeUnit.MILLISECONDS).create(request)));

    assertEquals(Status.Code.DEADLINE_EXCEEDED, refusal.code());
    assertTrue(System.nanoTime() - began < TimeUnit.SECONDS.toNanos(2));
    assertEquals("try again", Example.nextStep(refusal));
    // The execution went on: the same token gets its outcome.
    arn(service, request.toBuilder());
    assertEquals(1, ram.count("executions"));
  }

  @Test
  void cancellation() throws Exception {
    Sandbox ram = sandbox("main");
    ram.fault("{\"kind\": \"delay\", \"ms\": 1000}", 1);
    CreateResourceShareRequest request = share().build();
    ResourceShareServiceBlockingStub service = main();
    Context.CancellableContext context = Context.current().withCancellation();
    CompletableFuture<Throwable> outcome =
        CompletableFuture.supplyAsync(
            () -> {
              try {
                context.call(() -> Example.create(service, request.toBuilder()));
                return null;
              } catch (Exception error) {
                return error;
              }
            });
    ram.waitForRequests(1);

    context.cancel(null);

    StatusRuntimeException error = assertInstanceOf(StatusRuntimeException.class, outcome.get(10, TimeUnit.SECONDS));
    assertEquals(Status.Code.CANCELLED, error.getStatus().getCode());
    arn(service, request.toBuilder());
    assertEquals(1, ram.count("executions"));
  }

  @Test
  void unavailableIsRetriedByTheClient() throws Exception {
    Sandbox ram = sandbox("main");
    ram.fault("{\"kind\": \"drop_after_execution\"}", 1);

    arn(main(), share());

    assertEquals(2, ram.count("requests"));
    assertEquals(1, ram.count("executions"));
    assertEquals(1, ram.count("live_shares"));
  }

  @Test
  void pushbackIsObeyed() throws Exception {
    Sandbox ram = sandbox("main");
    ram.fault(SCENE.get("throttled").toString(), 1);
    // By itself this client would come back at once.
    String config =
        SCENE
            .get("service_config")
            .getAsString()
            .replace("[\"UNAVAILABLE\"]", "[\"UNAVAILABLE\", \"RESOURCE_EXHAUSTED\"]")
            .replace("\"0.2s\"", "\"0.001s\"")
            .replace("\"5s\"", "\"0.001s\"");
    ResourceShareServiceBlockingStub service =
        Example.service(open(Example.connect(address("main"), null, config)), TOKEN);
    long began = System.nanoTime();

    arn(service, share());

    assertTrue(System.nanoTime() - began >= TimeUnit.SECONDS.toNanos(1));
    assertEquals(2, ram.count("requests"));
  }

  @Test
  void unknownEnumValueIsKept() throws Exception {
    Sandbox ram = sandbox("main");
    ram.fault("{\"kind\": \"patch\", \"pointer\": \"/resourceShare/status\", \"value\": \"FROBBED\"}", 0);

    ResourceShare made = Example.create(main(), share()).getResourceShare();

    assertEquals(ResourceShareStatus.RESOURCE_SHARE_STATUS_UNSPECIFIED, made.getStatus());
    assertEquals("FROBBED", made.getUnrecognizedStatus());
    // A newer service may name a state that this client does not know: the number survives.
    ResourceShare newer = ResourceShare.parseFrom(new byte[] {0x28, 99});
    assertEquals(ResourceShareStatus.UNRECOGNIZED, newer.getStatus());
    assertEquals(99, newer.getStatusValue());
    assertArrayEquals(new byte[] {0x28, 99}, newer.toByteArray());
  }

  @Test
  void metadataOf64KibIsRefusedReadably() throws Exception {
    Sandbox ram = sandbox("main");

    Refusal refusal = refused(Example.service(open(connect(address("main"))), "x".repeat(65_536)), share());

    assertEquals(Status.Code.RESOURCE_EXHAUSTED, refusal.code(), refusal.message());
    assertEquals("METADATA_TOO_LARGE", reason(refusal));
    assertEquals("fix your request", Example.nextStep(refusal));
    assertEquals(0, ram.count("requests"));
  }

  @Test
  void tlsWithAPrivateCa() throws Exception {
    Sandbox ram = sandbox("tls");
    JsonObject tls = SCENE.getAsJsonObject("tls");
    String config = SCENE.get("service_config").getAsString();
    ManagedChannel trusting = open(Example.connect(address("tls"), tls.get("ca_file").getAsString(), config));
    ManagedChannel stranger = open(Example.connect(address("tls"), tls.get("other_ca_file").getAsString(), config));

    arn(Example.service(trusting, TOKEN), share());
    assertEquals(Status.Code.UNAVAILABLE, refused(Example.service(stranger, TOKEN), share()).code());
    assertEquals(1, ram.count("executions"));
  }

  @Test
  void gzip() throws Exception {
    sandbox("main");
    int before = tap("compressed");
    CreateResourceShareRequest.Builder request = share();
    for (int i = 0; i < 40; i++) {
      request.addTags(Tag.newBuilder().setKey("key-" + i).setValue("v".repeat(200)));
    }

    ResourceShare made =
        Example.create(service(SCENE.get("tap").getAsString()).withCompression("gzip"), request).getResourceShare();

    assertEquals(40, made.getTagsCount());
    assertEquals(before + 1, tap("compressed"));
  }

  @Test
  void keepalive() throws Exception {
    int connections = tap("connections");
    int goaways = tap("goaways");
    // grpc-java pings at most every 10 seconds.
    ManagedChannel channel =
        open(
            connect(SCENE.get("tap").getAsString())
                .keepAliveTime(10, TimeUnit.SECONDS)
                .keepAliveTimeout(5, TimeUnit.SECONDS)
                .keepAliveWithoutCalls(true));
    HealthGrpc.HealthBlockingStub health = HealthGrpc.newBlockingStub(channel);

    for (int i = 0; i < 2; i++) {
      health.check(HealthCheckRequest.getDefaultInstance());
      // A call may bring pings of its own, which measure bandwidth; a keepalive comes when nothing else does.
      Thread.sleep(500);
      int quiet = tap("pongs");
      until(() -> tap("pongs") > quiet);
    }
    health.check(HealthCheckRequest.getDefaultInstance());

    // All on one connection, which the service did not end for being pinged.
    assertEquals(connections + 1, tap("connections"));
    assertEquals(goaways, tap("goaways"));
  }

  @Test
  void drain() throws Exception {
    JsonObject started = ask("POST", SCENE.get("control").getAsString() + "/facade", null);
    String own = SCENE.get("control").getAsString() + "/facade/" + started.get("id").getAsInt();
    Sandbox ram = Sandbox.reset(started.get("sandbox").getAsString());
    ram.fault("{\"kind\": \"delay\", \"ms\": 1500}", 0);
    ResourceShareServiceBlockingStub service =
        Example.service(open(connect(started.get("address").getAsString()).disableRetry()), TOKEN);
    ExecutorService pool = Executors.newFixedThreadPool(5);
    List<Future<String>> calls = new ArrayList<>();
    for (int i = 0; i < 5; i++) {
      calls.add(pool.submit(() -> arn(service, share())));
    }
    ram.waitForRequests(5);

    ask("POST", own + "/terminate", null);

    Set<String> arns = calls.stream().map(call -> assertDone(call)).collect(Collectors.toSet());
    pool.shutdown();
    assertEquals(5, arns.size());
    Refusal late = refused(service, share());
    assertEquals(Status.Code.UNAVAILABLE, late.code());
    assertEquals("try again", Example.nextStep(late));
    assertEquals(0, ask("GET", own + "/exit", null).get("code").getAsInt());
  }

  private static String assertDone(Future<String> call) {
    try {
      return call.get(30, TimeUnit.SECONDS);
    } catch (Exception error) {
      throw new AssertionError("a call in flight was lost", error);
    }
  }

  @Test
  void health() throws Exception {
    HealthGrpc.HealthBlockingStub health = HealthGrpc.newBlockingStub(open(connect(address("main"))));
    for (String name : List.of("", "ramfacade.v1.ResourceShareService")) {
      assertEquals(
          ServingStatus.SERVING, health.check(HealthCheckRequest.newBuilder().setService(name).build()).getStatus());
    }
  }

  @Test
  void reflection() throws Exception {
    Metadata metadata = new Metadata();
    metadata.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + TOKEN);
    CompletableFuture<ServerReflectionResponse> first = new CompletableFuture<>();
    StreamObserver<ServerReflectionRequest> requests =
        ServerReflectionGrpc.newStub(open(connect(address("main"))))
            .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(metadata))
            .serverReflectionInfo(
                new StreamObserver<>() {
                  @Override
                  public void onNext(ServerReflectionResponse answer) {
                    first.complete(answer);
                  }

                  @Override
                  public void onError(Throwable error) {
                    first.completeExceptionally(error);
                  }

                  @Override
                  public void onCompleted() {}
                });
    requests.onNext(
        ServerReflectionRequest.newBuilder().setFileContainingSymbol("ramfacade.v1.ResourceShareService").build());

    FileDescriptorProto file =
        FileDescriptorProto.parseFrom(
            first.get(10, TimeUnit.SECONDS).getFileDescriptorResponse().getFileDescriptorProto(0));

    assertEquals("ramfacade.v1", file.getPackage());
    assertEquals("Create", file.getService(0).getMethod(0).getName());
    requests.onCompleted();
  }
}
