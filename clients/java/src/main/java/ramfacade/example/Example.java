package ramfacade.example;

import com.google.gson.Gson;
import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.QuotaFailure;
import com.google.rpc.RetryInfo;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.MetadataUtils;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import ramfacade.v1.CreateResourceShareRequest;
import ramfacade.v1.CreateResourceShareResponse;
import ramfacade.v1.ResourceShareServiceGrpc;
import ramfacade.v1.ResourceShareServiceGrpc.ResourceShareServiceBlockingStub;

/** Creates an empty resource share, and says what to do when that fails. */
public final class Example {
  private Example() {}

  // [connect]
  /** A channel that retries by the given policy: plaintext, or TLS with a private CA. */
  static ManagedChannelBuilder<?> connect(String address, String caFile, String serviceConfig) throws IOException {
    ChannelCredentials credentials =
        caFile == null
            ? InsecureChannelCredentials.create()
            : TlsChannelCredentials.newBuilder().trustManager(new File(caFile)).build();
    @SuppressWarnings("unchecked")
    Map<String, ?> policy = new Gson().fromJson(serviceConfig, Map.class);
    return Grpc.newChannelBuilder(address, credentials).defaultServiceConfig(policy);
  }

  /** The service's methods, called with this bearer token. */
  static ResourceShareServiceBlockingStub service(ManagedChannel channel, String token) {
    Metadata metadata = new Metadata();
    if (token != null) {
      metadata.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + token);
    }
    return ResourceShareServiceGrpc.newBlockingStub(channel)
        .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(metadata));
  }
  // [/connect]

  // [create]
  /** Creates the share. The client token makes it safe to send the same request again. */
  static CreateResourceShareResponse create(ResourceShareServiceBlockingStub service, CreateResourceShareRequest.Builder request) {
    if (request.getClientToken().isEmpty()) {
      request.setClientToken(UUID.randomUUID().toString());
    }
    return service.withDeadlineAfter(30, TimeUnit.SECONDS).create(request.build());
  }
  // [/create]

  // [refusal]
  /** A failed call, with the typed details that a program acts on. */
  record Refusal(Status.Code code, String message, List<Any> details) {
    static Refusal of(StatusRuntimeException error) {
      com.google.rpc.Status status = StatusProto.fromThrowable(error);
      return new Refusal(
          error.getStatus().getCode(),
          error.getStatus().getDescription(),
          status == null ? List.of() : status.getDetailsList());
    }

    Optional<ErrorInfo> info() {
      return detail(ErrorInfo.class);
    }

    List<BadRequest.FieldViolation> fields() {
      return detail(BadRequest.class).map(BadRequest::getFieldViolationsList).orElse(List.of());
    }

    /** Empty when the service does not invite another try. */
    Optional<Duration> retryAfter() {
      return detail(RetryInfo.class)
          .map(RetryInfo::getRetryDelay)
          .map(delay -> Duration.ofSeconds(delay.getSeconds(), delay.getNanos()));
    }

    <T extends Message> Optional<T> detail(Class<T> type) {
      return details.stream().filter(packed -> packed.is(type)).findFirst().map(packed -> unpack(packed, type));
    }

    private static <T extends Message> T unpack(Any packed, Class<T> type) {
      try {
        return packed.unpack(type);
      } catch (InvalidProtocolBufferException broken) {
        throw new IllegalStateException(broken);
      }
    }
  }
  // [/refusal]

  // [next]
  /** Who has to do something: nobody yet, you, or whoever runs the service. */
  static String nextStep(Refusal refusal) {
    if (refusal.retryAfter().isPresent()) {
      return "try again"; // the same request, with the same client token, after that time
    }
    return switch (refusal.code()) {
      case UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED, ABORTED -> "try again";
      case INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, FAILED_PRECONDITION -> "fix your request";
      // Without a quota it is the request that is too large.
      case RESOURCE_EXHAUSTED ->
          refusal.detail(QuotaFailure.class).isPresent() ? "ask your administrator" : "fix your request";
      default -> "ask your administrator";
    };
  }
  // [/next]

  public static void main(String[] arguments) throws Exception {
    String address = System.getenv().getOrDefault("FACADE_ADDRESS", "127.0.0.1:50051");
    String policy = Files.readString(Path.of("../retry-service-config.json"));
    ManagedChannel channel = connect(address, System.getenv("FACADE_CA_FILE"), policy).build();
    try {
      CreateResourceShareRequest.Builder request =
          CreateResourceShareRequest.newBuilder().setName("demo").setAllowExternalPrincipals(false);
      CreateResourceShareResponse answer = create(service(channel, System.getenv("FACADE_TOKEN")), request);
      System.out.println(answer.getResourceShare().getResourceShareArn());
    } catch (StatusRuntimeException error) {
      Refusal refusal = Refusal.of(error);
      String reason = refusal.info().map(ErrorInfo::getReason).orElse("");
      System.err.printf("%s %s: %s: %s%n", refusal.code(), reason, refusal.message(), nextStep(refusal));
      refusal.fields().forEach(field -> System.err.printf("  %s %s%n", field.getField(), field.getDescription()));
      System.exit(1);
    } finally {
      channel.shutdownNow();
    }
  }
}
