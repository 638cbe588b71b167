package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/penstock-io/penstock/benchmarks/internal/side"
)

// gRPC: a client's stream of messages with one field of bytes. It is flow-controlled, and
// acknowledges nothing to the program.

const (
	streamWindow = 4 << 20
	connWindow   = 8 << 20
	grpcBuffer   = 128 << 10
	grpcMost     = 64 << 20
)

const method = "/bench.Pipe/Send"

var streamDesc = grpc.StreamDesc{StreamName: "Send", ClientStreams: true, Handler: func(srv any, stream grpc.ServerStream) error {
	return srv.(*grpcServer).receive(stream)
}}

type grpcServer struct {
	*grpc.Server
	listener net.Listener
	to       *side.Receiver
	over     chan error
}

func grpcReceive(ctx context.Context, _ side.Place, to []*side.Receiver) (side.Receiving, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &grpcServer{listener: l, to: to[0], over: make(chan error, 1)}
	s.Server = grpc.NewServer(grpc.InitialWindowSize(streamWindow), grpc.InitialConnWindowSize(connWindow),
		grpc.ReadBufferSize(grpcBuffer), grpc.WriteBufferSize(grpcBuffer), grpc.MaxRecvMsgSize(grpcMost))
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "bench.Pipe", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{streamDesc}}, s)
	go func() { s.over <- s.Serve(l) }()
	return s, nil
}

func (s *grpcServer) receive(stream grpc.ServerStream) error {
	var m wrapperspb.BytesValue
	for {
		switch err := stream.RecvMsg(&m); {
		case errors.Is(err, io.EOF):
			return stream.SendMsg(&emptypb.Empty{})
		case err != nil:
			return err
		}
		s.to.Take(m.GetValue())
	}
}

func (s *grpcServer) Address() string { return s.listener.Addr().String() }

func (s *grpcServer) Close() error {
	s.Stop()
	return <-s.over
}

type grpcSender struct {
	conn   *grpc.ClientConn
	stream grpc.ClientStream
	cancel context.CancelFunc
}

func grpcSend(ctx context.Context, at side.Place) (side.Sender, error) {
	conn, err := grpc.NewClient(at.Address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithReadBufferSize(grpcBuffer), grpc.WithWriteBufferSize(grpcBuffer))
	if err != nil {
		return nil, err
	}
	s := &grpcSender{conn: conn}
	ctx, s.cancel = context.WithCancel(ctx)
	if s.stream, err = conn.NewStream(ctx, &streamDesc, method); err != nil {
		return nil, errors.Join(fmt.Errorf("grpc: %w", err), s.Close())
	}
	return s, nil
}

func (s *grpcSender) Send(_ context.Context, body []byte) error {
	return s.stream.SendMsg(&wrapperspb.BytesValue{Value: body})
}

func (s *grpcSender) Push() error { return nil }

func (s *grpcSender) Flush(context.Context) (bool, error) { return false, nil }

func (s *grpcSender) Close() error {
	s.cancel()
	return s.conn.Close()
}
