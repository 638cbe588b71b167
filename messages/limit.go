package messages

// What of a request is more than etcd allows.

// Limit is what of a request to etcd is too much.
type Limit string

// The limits of a request.
const (
	// LimitRequest: etcd or its client takes no request that large
	// (--max-request-bytes, MaxCallSendMsgSize). It was not applied.
	LimitRequest Limit = "request"
	// LimitOps: etcd takes no transaction of so many operations
	// (--max-txn-ops). It was not applied.
	LimitOps Limit = "operations"
	// LimitResponse: the client takes no response that large (MaxCallRecvMsgSize).
	// What was asked for was done.
	LimitResponse Limit = "response"
)

// LimitError says that a request is more than this etcd, or its client as it is
// configured, allows. The same request will be refused again; a smaller one may
// not. It wraps ErrTooLarge and the error of etcd's client.
type LimitError struct {
	Limit Limit
	Err   error
}

// Error says which limit, and where it is set.
func (e *LimitError) Error() string {
	what := map[Limit]string{
		LimitRequest:  "the request is larger than etcd's --max-request-bytes or the client's MaxCallSendMsgSize allows",
		LimitOps:      "the transaction has more operations than etcd's --max-txn-ops allows",
		LimitResponse: "the response is larger than the client's MaxCallRecvMsgSize allows",
	}[e.Limit]
	return what + ": " + e.Err.Error()
}

// Unwrap is ErrTooLarge, and the error of etcd's client.
func (e *LimitError) Unwrap() []error { return []error{ErrTooLarge, e.Err} }
