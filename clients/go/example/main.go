// Command example creates an empty resource share, and says what to do when that fails.
package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	ramfacade "ramfacade.example/client/ramfacade/v1"
)

// [connect]

// bearer sends the token with every call, over plaintext too: keep that to loopback.
type bearer string

func (token bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(token)}, nil
}

func (bearer) RequireTransportSecurity() bool { return false }

// connect opens a connection that retries by the given policy: plaintext, or TLS with a private CA.
func connect(address, caFile, token, serviceConfig string, more ...grpc.DialOption) (*grpc.ClientConn, error) {
	transport := insecure.NewCredentials()
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, err
		}
		authorities := x509.NewCertPool()
		if !authorities.AppendCertsFromPEM(pem) {
			return nil, errors.New(caFile + " holds no certificate")
		}
		transport = credentials.NewClientTLSFromCert(authorities, "")
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultServiceConfig(serviceConfig),
	}
	if token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer(token)))
	}
	return grpc.NewClient(address, append(options, more...)...)
}

// [/connect]

// [create]

// create makes the share. The client token makes it safe to send the same request again.
func create(ctx context.Context, connection *grpc.ClientConn, request *ramfacade.CreateResourceShareRequest) (*ramfacade.CreateResourceShareResponse, error) {
	if request.ClientToken == "" {
		request.ClientToken = rand.Text()
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return ramfacade.NewResourceShareServiceClient(connection).Create(ctx, request)
}

// [/create]

// [refusal]

// refusal is a failed call, with the typed details that a program acts on.
type refusal struct {
	code       codes.Code
	message    string
	reason     string
	domain     string
	fields     []*errdetails.BadRequest_FieldViolation
	quota      bool
	retryAfter time.Duration // 0 when the service does not invite another try
}

func read(err error) refusal {
	s := status.Convert(err)
	r := refusal{code: s.Code(), message: s.Message()}
	for _, detail := range s.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			r.reason, r.domain = d.Reason, d.Domain
		case *errdetails.BadRequest:
			r.fields = d.FieldViolations
		case *errdetails.QuotaFailure:
			r.quota = true
		case *errdetails.RetryInfo:
			r.retryAfter = d.RetryDelay.AsDuration()
		}
	}
	return r
}

// [/refusal]

// [next]

// next says who has to do something: nobody yet, you, or whoever runs the service.
func (r refusal) next() string {
	if r.retryAfter > 0 {
		return "try again" // the same request, with the same client token, after that time
	}
	switch r.code {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Aborted:
		return "try again"
	case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.FailedPrecondition:
		return "fix your request"
	case codes.ResourceExhausted:
		if !r.quota {
			return "fix your request" // it is too large
		}
	}
	return "ask your administrator"
}

// [/next]

func run() error {
	address := os.Getenv("FACADE_ADDRESS")
	if address == "" {
		address = "127.0.0.1:50051"
	}
	policy, err := os.ReadFile("../retry-service-config.json")
	if err != nil {
		return err
	}
	connection, err := connect(address, os.Getenv("FACADE_CA_FILE"), os.Getenv("FACADE_TOKEN"), string(policy))
	if err != nil {
		return err
	}
	defer connection.Close()

	answer, err := create(context.Background(), connection, &ramfacade.CreateResourceShareRequest{
		Name:                    "demo",
		AllowExternalPrincipals: proto.Bool(false),
	})
	if err != nil {
		r := read(err)
		for _, field := range r.fields {
			fmt.Fprintf(os.Stderr, "  %s %s\n", field.Field, field.Description)
		}
		return fmt.Errorf("%s %s: %s: %s", r.code, r.reason, r.message, r.next())
	}
	fmt.Println(answer.ResourceShare.ResourceShareArn)
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
