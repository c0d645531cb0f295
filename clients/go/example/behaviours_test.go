package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	ramfacade "ramfacade.example/client/ramfacade/v1"
)

// What every client must see of the service; clients/behaviours.json lists the names, clients/run.py starts the scene.

type server struct{ Address, Sandbox string }

var scene struct {
	Token, Tap, Control string
	Main, Hurried       server
	TLS                 struct {
		server
		CA      string `json:"ca_file"`
		OtherCA string `json:"other_ca_file"`
	}
	ServiceConfig string `json:"service_config"`
	Throttled     map[string]any
	Codes         []struct {
		Code, Server, Token, Domain, Reason, Next string
		Name                                      *string
		Callers                                   int
		Fault                                     map[string]any
		Details, Fields                           []string
	}
}

func TestMain(m *testing.M) {
	text, err := os.ReadFile(os.Getenv("SCENE"))
	if err == nil {
		err = json.Unmarshal(text, &scene)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "SCENE names no scene; run clients/run.py:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// ask sends a request to the sandbox or to the runner and reads its JSON.
func ask(t *testing.T, method, url string, body any) map[string]any {
	t.Helper()
	text, _ := json.Marshal(body)
	request, err := http.NewRequest(method, url, bytes.NewReader(text))
	must(t, err)
	response, err := http.DefaultClient.Do(request)
	must(t, err)
	defer response.Body.Close()
	if response.StatusCode >= 300 {
		t.Fatalf("%s %s: %s", method, url, response.Status)
	}
	answer := map[string]any{}
	_ = json.NewDecoder(response.Body).Decode(&answer)
	return answer
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sandbox is the embedded RAM behind a service.
type sandbox struct{ url string }

func reset(t *testing.T, url string) sandbox {
	t.Helper()
	ask(t, "POST", url+"/_sandbox/reset", nil)
	return sandbox{url}
}

func (s sandbox) fault(t *testing.T, fault map[string]any, times int) {
	t.Helper()
	rule := map[string]any{"operation": "CreateResourceShare", "fault": fault}
	if times > 0 {
		rule["times"] = times
	}
	ask(t, "PUT", s.url+"/_sandbox/faults", map[string]any{"rules": []any{rule}})
}

func (s sandbox) count(t *testing.T, what string) int {
	t.Helper()
	switch value := ask(t, "GET", s.url+"/_sandbox/stats", nil)[what].(type) {
	case float64:
		return int(value)
	case map[string]any:
		count, _ := value["CreateResourceShare"].(float64)
		return int(count)
	}
	t.Fatalf("no count %q", what)
	return 0
}

func (s sandbox) expect(t *testing.T, what string, want int) {
	t.Helper()
	if have := s.count(t, what); have != want {
		t.Errorf("%s: %d, want %d", what, have, want)
	}
}

func (s sandbox) waitForRequests(t *testing.T, least int) {
	t.Helper()
	until(t, func() bool { return s.count(t, "requests") >= least })
}

func until(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen within 30 seconds")
		}
	}
}

func tap(t *testing.T, what string) int {
	t.Helper()
	return int(ask(t, "GET", scene.Control+"/tap", nil)[what].(float64))
}

func dial(t *testing.T, address string, more ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	return dialAs(t, scene.Token, address, more...)
}

func dialAs(t *testing.T, token, address string, more ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	connection, err := connect(address, "", token, scene.ServiceConfig, more...)
	must(t, err)
	t.Cleanup(func() { connection.Close() })
	return connection
}

func share(name string) *ramfacade.CreateResourceShareRequest {
	return &ramfacade.CreateResourceShareRequest{Name: name}
}

func arn(t *testing.T, connection *grpc.ClientConn, request *ramfacade.CreateResourceShareRequest) string {
	t.Helper()
	answer, err := create(t.Context(), connection, request)
	must(t, err)
	if !strings.HasPrefix(answer.ResourceShare.ResourceShareArn, "arn:aws:ram:us-east-1:111122223333:resource-share/") {
		t.Fatalf("no ARN of a share: %v", answer)
	}
	return answer.ResourceShare.ResourceShareArn
}

func refused(t *testing.T, connection *grpc.ClientConn, request *ramfacade.CreateResourceShareRequest, want codes.Code) refusal {
	t.Helper()
	_, err := create(t.Context(), connection, request)
	return expectCode(t, err, want)
}

func expectCode(t *testing.T, err error, want codes.Code) refusal {
	t.Helper()
	r := read(err)
	if r.code != want {
		t.Fatalf("code %s, want %s: %v", r.code, want, err)
	}
	return r
}

func TestCreate(t *testing.T) {
	ram := reset(t, scene.Main.Sandbox)
	request := share("demo")
	request.AllowExternalPrincipals = proto.Bool(false)
	request.Tags = []*ramfacade.Tag{{Key: "team", Value: "network"}}

	answer, err := create(t.Context(), dial(t, scene.Main.Address), request)
	must(t, err)

	made := answer.ResourceShare
	if made.Status != ramfacade.ResourceShareStatus_RESOURCE_SHARE_STATUS_ACTIVE || made.AllowExternalPrincipals == nil ||
		*made.AllowExternalPrincipals || len(made.Tags) != 1 || made.Tags[0].Value != "network" {
		t.Errorf("another share: %v", made)
	}
	ram.expect(t, "executions", 1)
}

func TestReplay(t *testing.T) {
	ram := reset(t, scene.Main.Sandbox)
	connection, request := dial(t, scene.Main.Address), share("demo")

	if first, again := arn(t, connection, request), arn(t, connection, request); first != again {
		t.Errorf("two shares: %s and %s", first, again)
	}
	ram.expect(t, "executions", 1)
}

func TestMismatch(t *testing.T) {
	ram := reset(t, scene.Main.Sandbox)
	connection, request := dial(t, scene.Main.Address), share("demo")
	arn(t, connection, request)
	request.Name = "other"

	r := refused(t, connection, request, codes.InvalidArgument)

	if r.reason != "IDEMPOTENT_PARAMETER_MISMATCH" || len(r.fields) != 1 || r.fields[0].Field != "client_token" ||
		r.next() != "fix your request" {
		t.Errorf("another refusal: %+v", r)
	}
	ram.expect(t, "executions", 1)
}

func TestEveryCodeWithTypedDetails(t *testing.T) {
	if len(scene.Codes) == 0 {
		t.Fatal("the scene names no codes")
	}
	for _, row := range scene.Codes {
		t.Run(row.Code, func(t *testing.T) {
			server, token, name := scene.Main, scene.Token, "demo"
			if row.Server == "hurried" {
				server = scene.Hurried
			}
			if row.Token != "" {
				token = row.Token
			}
			if row.Name != nil {
				name = *row.Name
			}
			ram := reset(t, server.Sandbox)
			if row.Fault != nil {
				ram.fault(t, row.Fault, 0)
			}
			// The client's own retries would only repeat what is looked at here.
			connection := dialAs(t, token, server.Address, grpc.WithDisableRetry())
			request := share(name)
			request.ClientToken = t.Name() + time.Now().Format(time.RFC3339Nano)[:24]
			request.ClientToken = request.ClientToken[len(request.ClientToken)-24:]

			errors := make(chan error, max(row.Callers, 1))
			var calls sync.WaitGroup
			for range cap(errors) {
				calls.Go(func() {
					if _, err := create(t.Context(), connection, proto.CloneOf(request)); err != nil {
						errors <- err
					}
				})
			}
			calls.Wait()
			close(errors)
			err, some := <-errors
			if !some {
				t.Fatal("nobody was refused")
			}

			r := read(err)
			var details []string
			for _, detail := range status.Convert(err).Details() {
				details = append(details, reflect.TypeOf(detail).Elem().Name())
			}
			slices.Sort(details)
			var fields []string
			for _, field := range r.fields {
				fields = append(fields, field.Field)
			}
			code := strings.ReplaceAll(strings.ToUpper(r.code.String()), "_", "")
			if code != strings.ReplaceAll(row.Code, "_", "") || r.domain != row.Domain || r.reason != row.Reason {
				t.Errorf("%s %s %s: %v", r.code, r.domain, r.reason, err)
			}
			if !slices.Equal(details, row.Details) || !slices.Equal(fields, row.Fields) {
				t.Errorf("details %v, fields %v", details, fields)
			}
			if r.next() != row.Next || slices.Contains(details, "RetryInfo") != (r.retryAfter > 0) {
				t.Errorf("next is to %s, after %s", r.next(), r.retryAfter)
			}
		})
	}
}

func TestDeadlineExceeded(t *testing.T) {
	ram := reset(t, scene.Main.Sandbox)
	ram.fault(t, map[string]any{"kind": "delay", "ms": 3000}, 1)
	connection, request := dial(t, scene.Main.Address), share("demo")
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()

	_, err := create(short, connection, request)

	if r := expectCode(t, err, codes.DeadlineExceeded); r.next() != "try again" || time.Since(began) > 2*time.Second {
		t.Errorf("after %s: %+v", time.Since(began), r)
	}
	// The execution went on: the same token gets its outcome.
	arn(t, connection, request)
	ram.expect(t, "executions", 1)
}

func TestCancellation(t *testing.T) {
	ram := reset(t, scene.Main.Sandbox)
	ram.fault(t, map[string]any{"kind": "delay", "ms": 1000}, 1)
	connection, request := dial(t, scene.Main.Address), share("demo")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		ram.waitForRequests(t, 1)
		cancel()
	}()

	_, err := create(ctx, connection, request)

	expectCode(t, err, codes.Canceled)
	arn(t, connection, request)
	ram.expect(t, "executions", 1)
}

func TestUnavailableIsRetriedByTheClient(t *testing.T) {
	ram := reset(t, scene.Main.Sandbox)
	ram.fault(t, map[string]any{"kind": "drop_after_execution"}, 1)

	arn(t, dial(t, scene.Main.Address), share("demo"))

	ram.expect(t, "requests", 2)
	ram.expect(t, "executions", 1)
	ram.expect(t, "live_shares", 1)
}

func TestPushbackIsObeyed(t *testing.T) {
	ram := reset(t, scene.Main.Sandbox)
	ram.fault(t, scene.Throttled, 1)
	// By itself this client would come back at once.
	config := strings.NewReplacer(`["UNAVAILABLE"]`, `["UNAVAILABLE", "RESOURCE_EXHAUSTED"]`, `"0.2s"`, `"0.001s"`,
		`"5s"`, `"0.001s"`).Replace(scene.ServiceConfig)
	connection, err := connect(scene.Main.Address, "", scene.Token, config)
	must(t, err)
	defer connection.Close()
	began := time.Now()

	arn(t, connection, share("demo"))

	if time.Since(began) < time.Second {
		t.Errorf("came back after %s", time.Since(began))
	}
	ram.expect(t, "requests", 2)
}

func TestUnknownEnumValueIsKept(t *testing.T) {
	ram := reset(t, scene.Main.Sandbox)
	ram.fault(t, map[string]any{"kind": "patch", "pointer": "/resourceShare/status", "value": "FROBBED"}, 0)

	answer, err := create(t.Context(), dial(t, scene.Main.Address), share("demo"))
	must(t, err)

	made := answer.ResourceShare
	if made.Status != ramfacade.ResourceShareStatus_RESOURCE_SHARE_STATUS_UNSPECIFIED || made.UnrecognizedStatus != "FROBBED" {
		t.Errorf("another state: %v", made)
	}
	// A newer service may name a state that this client does not know: the number survives.
	newer := &ramfacade.ResourceShare{}
	must(t, proto.Unmarshal([]byte{0x28, 99}, newer))
	again, err := proto.Marshal(newer)
	must(t, err)
	if newer.Status != 99 || !bytes.Equal(again, []byte{0x28, 99}) {
		t.Errorf("the number is lost: %v", newer)
	}
}

func TestMetadataOf64KibIsRefusedReadably(t *testing.T) {
	ram := reset(t, scene.Main.Sandbox)

	r := refused(t, dialAs(t, strings.Repeat("x", 65_536), scene.Main.Address), share("demo"), codes.ResourceExhausted)

	if r.reason != "METADATA_TOO_LARGE" || r.next() != "fix your request" {
		t.Errorf("another refusal: %+v", r)
	}
	ram.expect(t, "requests", 0)
}

func TestTLSWithAPrivateCA(t *testing.T) {
	ram := reset(t, scene.TLS.Sandbox)
	trusting, err := connect(scene.TLS.Address, scene.TLS.CA, scene.Token, scene.ServiceConfig)
	must(t, err)
	defer trusting.Close()
	stranger, err := connect(scene.TLS.Address, scene.TLS.OtherCA, scene.Token, scene.ServiceConfig)
	must(t, err)
	defer stranger.Close()

	arn(t, trusting, share("demo"))
	refused(t, stranger, share("demo"), codes.Unavailable)

	ram.expect(t, "executions", 1)
}

func TestGzip(t *testing.T) {
	reset(t, scene.Main.Sandbox)
	before, request := tap(t, "compressed"), share("demo")
	for i := range 40 {
		request.Tags = append(request.Tags, &ramfacade.Tag{Key: fmt.Sprintf("key-%d", i), Value: strings.Repeat("v", 200)})
	}

	answer, err := create(t.Context(), dial(t, scene.Tap, grpc.WithDefaultCallOptions(grpc.UseCompressor(gzip.Name))), request)
	must(t, err)

	if len(answer.ResourceShare.Tags) != 40 || tap(t, "compressed") != before+1 {
		t.Errorf("%d tags, %d compressed messages", len(answer.ResourceShare.Tags), tap(t, "compressed")-before)
	}
}

func TestKeepalive(t *testing.T) {
	connections, goaways, pongs := tap(t, "connections"), tap(t, "goaways"), tap(t, "pongs")
	// grpc-go pings at most every 10 seconds.
	often := keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second, PermitWithoutStream: true}
	health := grpc_health_v1.NewHealthClient(dial(t, scene.Tap, grpc.WithKeepaliveParams(often)))

	for range 2 {
		_, err := health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
		must(t, err)
		// A call brings pings of its own, which measure bandwidth; a keepalive comes when nothing else does.
		quiet := tap(t, "pongs")
		until(t, func() bool { return tap(t, "pongs") > max(quiet, pongs+1) })
	}
	// All on one connection, which the service did not end for being pinged.
	if tap(t, "connections") != connections+1 || tap(t, "goaways") != goaways {
		t.Error("the connection did not last")
	}
}

func TestDrain(t *testing.T) {
	started := ask(t, "POST", scene.Control+"/facade", nil)
	own := fmt.Sprintf("%s/facade/%v", scene.Control, started["id"])
	ram := reset(t, started["sandbox"].(string))
	ram.fault(t, map[string]any{"kind": "delay", "ms": 1500}, 0)
	connection := dial(t, started["address"].(string), grpc.WithDisableRetry())
	var calls sync.WaitGroup
	var arns sync.Map
	for range 5 {
		calls.Go(func() {
			answer, err := create(t.Context(), connection, share("demo"))
			if err != nil {
				t.Errorf("a call in flight: %v", err)
				return
			}
			arns.Store(answer.ResourceShare.ResourceShareArn, true)
		})
	}
	ram.waitForRequests(t, 5)

	ask(t, "POST", own+"/terminate", nil)
	calls.Wait()

	made := 0
	arns.Range(func(any, any) bool { made++; return true })
	if made != 5 {
		t.Errorf("%d shares", made)
	}
	if r := refused(t, connection, share("demo"), codes.Unavailable); r.next() != "try again" {
		t.Errorf("another refusal: %+v", r)
	}
	if code := ask(t, "GET", own+"/exit", nil)["code"]; code != 0.0 {
		t.Errorf("exit code %v", code)
	}
}

func TestHealth(t *testing.T) {
	for _, service := range []string{"", "ramfacade.v1.ResourceShareService"} {
		health := grpc_health_v1.NewHealthClient(dial(t, scene.Main.Address))
		answer, err := health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: service})
		must(t, err)
		if answer.Status != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Errorf("%q is %s", service, answer.Status)
		}
	}
}

func TestReflection(t *testing.T) {
	stream, err := grpc_reflection_v1.NewServerReflectionClient(dial(t, scene.Main.Address)).ServerReflectionInfo(t.Context())
	must(t, err)
	must(t, stream.Send(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_FileContainingSymbol{
			FileContainingSymbol: "ramfacade.v1.ResourceShareService",
		},
	}))

	answer, err := stream.Recv()
	must(t, err)

	file := &descriptorpb.FileDescriptorProto{}
	must(t, proto.Unmarshal(answer.GetFileDescriptorResponse().FileDescriptorProto[0], file))
	if file.GetPackage() != "ramfacade.v1" || file.Service[0].Method[0].GetName() != "Create" {
		t.Errorf("another contract: %v", file.GetName())
	}
}
