// Package runtimes holds the fault tests of what pipes and topics share: how a
// runtime starts and stops, which rights it needs, and what the functions that
// users give it may do.
//
// Below stands each promise, and the tests that hold it.
//
// # Start and Stop
//
//	Start says why it fails, in time
//		TestStartSaysWhy
//		TestStartLogsWhyOnce
//		TestStartFailsTypedWithoutEtcd
//	Stop and Leave obey their contexts
//		TestStopObeysItsContextWithoutEtcd
//	an end that is called by what it would wait for is ErrBusy
//		TestEndsFromWithin
//		TestTopicEndsFromWithin
//		TestStopInEventsAndLogger
//	a function that never returns is left behind
//		TestTopicUnsubscribeWithAStuckReader
//		TestLoggerBlocks
//
// # Health
//
//	without etcd a runtime is live, and not ready once its lease is in doubt
//		TestHealthWithoutEtcd
//	what ended unasked keeps a runtime from being ready
//		TestHealthOfWhatEndedUnasked
//
// # Users' functions
//
//	a logger or callback that fails costs its own call
//		TestLoggerFails
//		TestLoggerAlwaysFails
//		TestTopicCallbackFails
//	a handler that stands still is told with its stack
//		TestStuckHandlerIsTold
//	nil is ErrInvalid
//		TestNilIsInvalidEverywhere
//
// # Rights and names
//
//	the table of roles is the narrowest that works
//		TestRolesOfTheTable
//		TestRightLostInEtcd
//	a missing right is ErrDenied at once
//		TestRightsAreRefusedAtOnce
//	a host may have any name
//		TestHostNameThatIsNoText
package runtimes
