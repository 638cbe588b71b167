// Package pipes holds the fault tests of pipes: what is promised of them while
// processes die, links break, handlers fail and etcd is away. Senders and members
// are processes of their own where a process has to die.
//
// Below stands each promise, and the tests that hold it.
//
// # The promises of the README
//
//	accepted means
//		TestFullGroups
//		TestFlushWaitsForAcks
//		TestBadInputLargestMessageTravels
//	a consumer dies
//		TestMemberKilledUnderLoad
//		TestIPCMemberKilledUnderLoad
//		TestMemberFrozenAndResumed
//		TestAtMostOnceNeverRepeats
//	a link breaks
//		TestVanishAfterDrain
//		TestLinkCutWhileKeyIsAway
//	the sender's process dies
//		TestSenderKilledAndReplaced
//		TestIPCSenderKilledAndReplaced
//	the sender is stopped
//		TestSenderRestartedOnAnotherPort
//		TestUnregisterAbandons
//	order
//		TestSeveralSenders
//	duplicates
//		TestMemberKilledUnderLoad
//		TestAtMostOnceNeverRepeats
//		TestLeaseRevokedUnderLoad
//	a stale owner
//		TestHandlerBlocks
//		TestMemberFrozenAndResumed
//		TestMemberThatSettlesNothing
//	a handler fails
//		TestHandlerPanicsAlways
//		TestHandlerFailsSometimes
//		TestPoisonIsParked
//		TestNackDelayGrows
//		TestAttemptsAndDeaths
//	a message kills each process that handles it
//		TestADeadlyMessageEnds
//	a group is slow
//		TestFullGroups
//		TestStuckGroupIsBounded
//		TestASlowMemberDoesNotSlowItsGroup
//	etcd is away
//		TestEtcdStoppedUnderLoad
//		TestEtcdWipedUnderLoad
//		TestEtcdHangs
//		TestKeysDeletedUnderLoad
//		TestRestoredRegistrations
//
// # Each transport
//
//	what is promised over tcp holds over the others: encrypted, WebSocket, and unix sockets
//		TestEachTransportUnderFaults
//		TestEachTransportsSenderIsReplaced
//	a unix socket lets in whom its mode lets in, and others take the next URL
//		TestIPCOfAnotherUser
//	and within a process, as far as its runtimes can fail alone
//		TestInProcRuntimesStoppedUnderLoad
//
// # Both faces
//
//	what handles promise, the actors of props promise
//		TestBothFaces
//
// # What a member holds
//
//	after AckWait it goes to another member
//		TestHandlerBlocks
//		TestHandlerBlocksForeverBeforeAFullWindow
//		TestBatchThatIsNeverSettled
//		TestMemberThatSettlesNothing
//	until then it is the member's, however its loop ended
//		TestBatchIsSettledAfterTheLoop
//		TestInProgressRenews
//	what it does not read goes to others
//		TestMemberThatStopsReading
//		TestIdleMemberThatStoppedReading
//		TestBreakHandsBack
//	Leave waits for what is in hand, and not without end
//		TestLeaveWaitsForWhatIsInHand
//		TestLeaveWithAStuckReader
//	it has one reader at a time
//		TestSecondReaderIsBusy
//		TestReadingAfterLeave
//
// # Order
//
//	Failover: one member at a time, in order, whoever dies, freezes, leaves and joins
//		TestFailoverKeepsOrder
//	KeyAffinity: the same for each key
//		TestKeyAffinityKeepsOrder
//	and the rules that all groups have keep the order: AckWait, full queues, requests, pauses
//		TestAckWaitKeepsOrder
//		TestDropOldestKeepsOrder
//		TestRequestsKeepOrder
//		TestPauseKeepsOrder
//
// # Requests
//
//	each has one reply, which is its own
//		TestManyRequestsAtOnce
//		TestRequestToAllGroups
//		TestReplyOverTheLimit
//	it outlives the member that has it
//		TestRequestOutlivesItsMember
//		TestRequestOutlivesFaults
//	who asks hears of the end of what it waits with
//		TestRequesterOfAHungLink
//		TestRequestAtMostOnce
//
// # How long a group lives
//
//	KeepFor, from when its last member left
//		TestGroupDeserted
//		TestGroupOutlivesTheLastSender
//		TestDesertionIsCountedAcrossSenders
//		TestJoiningEndsDesertion
//		TestMarkOfAFrozenMemberIsTakenBack
//	forever, where that is asked for
//		TestGroupKeptForever
//		TestGroupKeptForeverIsDeleted
//	a required group misses nothing, whoever starts first and however often it dies
//		TestRequiredGroups
//		TestRequiredGroupInACrashLoop
//		TestRequiredGroupIsWaitedForAgain
//	declared, as long as its KeepFor
//		TestDeclaredGroup
//	what stands in etcd is described
//		TestDestinationsAreDescribed
//	paused, until its time or its end, whoever runs
//		TestPausedGroup
//		TestPauseWithoutEtcd
//	its settings are those in etcd
//		TestGroupMadeAgainWithAnotherMode
//		TestPipeOfAHelloAlone
//	nothing is left of it, nor of who left
//		TestNoKeyOfAGroupIsLeft
//		TestCancelledJoinLeavesNoKey
//		TestJoinsAndLeavesLeaveNothing
//
// # Where a sender is found
//
//	by what others can dial, on whatever machine
//		TestDefaultAddresses
//		TestIPv6Alone
//		TestPrivateAddressesAreNotAdvertised
//	by the addresses that the machine has now, and links that stand are kept
//		TestAddressesChange
//
// # Names and calls
//
//	a name has one holder
//		TestTakenNames
//		TestRegisterAgainAfterUnregister
//	calls return without a sender, and when their context ends
//		TestLeaveReturnsAtOnceWithoutSender
//		TestLeaveEndsALoopThatWaitsForASender
//		TestCancelledLoopReturnsWithoutSender
//		TestCancelledJoinReturns
//	what cannot be used is refused at the call
//		TestBadInputIsRefusedAtTheCall
//		TestBadInputNamesEveryFault
//		TestBadInputMessageSizeCountsThePayload
//		TestBadInputMessageOverTheLimit
//
// # Strangers and peers that break the protocol
//
//	are refused and counted, and others do not notice
//		TestBadInputStrangers
//		TestProtocolIsKept
//	learn nothing
//		TestStrangerAsksTwoListeners
//	who has the token of a group is let into that group alone, and for as long as it is in etcd
//		TestTokenOfAGroup
//	tokens are replaced under load without loss, and what is revoked ends at once and stays so
//		TestTokensRotatedUnderLoad
//		TestTokensRevoked
//		TestTokensRevokedWhileCutOff
//		TestTokensOfAGroupThatIsGone
//	take up no more than they are granted
//		TestGroupsByHelloAreBounded
//	who holds a token may do what its role says and no more, case by case
//		TestHostileMember
//		TestHostileSender
//		TestHostileReplies
//	crash nothing, whatever they send
//		FuzzHostileMember
//		FuzzHostileSender
package pipes
