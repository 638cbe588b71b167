// Package topics holds the fault tests of topics: what is promised of the log and
// of its groups while processes die, etcd fails, requests come late and keys are
// lost. Each reads the whole log in the end, and holds it against what was accepted
// and handled; the audit of commits follows a group on etcd's own history.
//
// Below stands each promise, and the tests that hold it.
//
// # The promises of the README
//
//	accepted means
//		TestEtcdRestartedUnderLoad
//		TestEtcdCompactedUnderLoad
//		TestClusterMembersKilled
//		TestLogSurvivesCompaction
//		TestHistoryOfALog
//		TestHistoryModels
//	a consumer dies
//		TestConsumersKilledUnderLoad
//		TestKilledConsumersAreNotWaitedFor
//		TestMovedConsumersAreNotWaitedFor
//		TestConsumerFrozenPastItsLease
//		TestSessionsLostUnderLoad
//	a link breaks
//		TestRepliesDropped
//		TestClusterMemberFrozen
//		TestClusterParted
//		TestSlowEtcd
//	the sender's process dies
//		TestProducerKilledUnderLoad
//	the sender is stopped
//		TestStopFlushesWhatWasTaken
//		TestStopCountsWhatItGivesUp
//		TestCloseFlushesWhatWasTaken
//	order
//		TestHistoryOfALog
//		TestPartitionsAddedUnderLoad
//	duplicates
//		TestRepliesDropped
//		TestTransfersHappenOnce
//		TestScaleUpsAndDowns
//		TestLateCommitDoesNotOutliveTheRelease
//	a stale owner
//		TestConsumerFrozenPastItsLease
//		TestHistoryOfAGroup
//		TestNeverTwoOwners
//		TestLeasesNotHeartbeats
//	a handler fails
//		TestRecordsComeAgainAtTheEndOfAPartition
//		TestRecordThatKillsItsConsumersIsADeadLetter
//	a group is slow
//		TestScaleToManyGroups
//		TestReadAheadIsBoundedUnpacked
//	etcd is away
//		TestEtcdHangs
//		TestEtcdRestartedUnderLoad
//		TestEtcdWiped
//
// # Both faces
//
//	what handles promise, the actors of props promise
//		TestBothFaces
//
// # Putting
//
//	each put gets one result, whatever its callback does
//		TestPutsSurviveTheirCallbacks
//		TestACallbackPutsIntoAFullBuffer
//		TestACallbackThatNeverReturns
//		TestACallbackCannotWaitForItself
//	handles share a topic, and the last Close ends it
//		TestClosedHandlesCostNothing
//		TestCloseCanBeCalledAgain
//		TestBadInputClosedHandles
//	a put without an answer is ErrUnknownOutcome, and others are put
//		TestFailedPut
//		TestEtcdHangs
//	a record with an id is in the topic once, though it is put again
//		TestProducersPutAgainAfterDeaths
//	a record that is delivered later is delivered once, when it is due, or cancelled
//		TestKeeperIsKilledWhileItDelivers
//		TestDelayedRecordsSurviveRestarts
//		TestDelayedRecordsAfterARestore
//		TestCancelRacesDelivery
//	puts are slowed and refused before etcd is full
//		TestOverloadIsRefusedBeforeTheAlarm
//		TestProcessesOverloadAnEtcdWithAQuota
//	an alarm of etcd is told
//		TestAlarmIsTold
//	a full etcd is ErrNoSpace, and can be emptied
//		TestEtcdWithoutRoom
//		TestTopicOfAFullEtcdCanBeDeleted
//	batches and requests are as large as etcd and its client take
//		TestRecordsOverTheLimitOfEtcd
//		TestFewOperationsInOneRequest
//		TestAnswersOverTheLimitOfTheClient
//		TestBadInputLargeBatchIsSplit
//		TestErrorsWithoutAName
//
// # Tables
//
//	a table has what the log has, and says when that may be old
//		TestTableWhileEtcdIsAway
//		TestTableAfterRestore
//
// # Commits
//
//	slow handlers of one partition are kept busy, in order for each key
//		TestSlowHandlersOfOnePartition
//	what was finished is not handled again, though what is before it was not
//		TestKilledConsumerRepeatsOnlyWhatWasNotFinished
//	dead letters of one member pause the whole group, in all processes
//		TestDeadLettersOfOneMemberPauseTheGroup
//	what was committed stands; a late write undoes nothing
//		TestCommitIsNotUndoneByALateOne
//		TestSeekIsNotUndoneByALateCommit
//		TestCommitGivenUpByItsCallerIsOvertaken
//		TestResetGivenUpDoesNotComeLater
//		TestLateCommitDoesNotOutliveTheRelease
//	CommitAsync calls back once, in order
//		TestEachCommitAsyncIsAnsweredOnceInOrder
//		TestCommitAsyncSurvivesItsCallbacks
//		TestCommitAsyncIsBounded
//		TestCommitAsyncDoesNotWaitForTheNextRound
//		TestCommitAsyncBeforeASeek
//	a record that expired is told, whatever its callback does
//		TestRecordExpiredSurvivesItsCallbacks
//	a commit takes only what was handed out
//		TestCommitTakesOnlyWhatWasHandedOut
//	what BeforeRelease wrote out is committed with the release
//		TestBeforeReleaseCommitsWhatIsFinished
//		TestBeforeReleaseThatFails
//		TestCommitsContinueBesideBeforeRelease
//
// # Shared groups
//
//	what members have that die or stand still, others get; the owner commits once
//		TestBorrowerKilled
//		TestBorrowerFrozen
//		TestRecordThatKillsBorrowersIsADeadLetter
//		TestRecordThatKillsLendingOwnersIsADeadLetter
//	an owner that dies or loses its lease is followed, and nothing committed is repeated
//		TestLendingOwnerKilled
//		TestLendingOwnerLosesItsLease
//
// # Transactions
//
//	a record that a transaction takes has its effects once
//		TestTransfersHappenOnce
//	PutIf puts at the end that its caller has read
//		TestPutIfIsALockForNobody
//
// # Groups
//
//	where a group begins is decided once
//		TestGroupBeginsOnce
//		TestGroupReadsWhatCameBeforeItsMemberNoticed
//		TestLatestBeginsAtTheEndThoughARequestFailed
//		TestSubscribeRefusesAPlacePastTheEnd
//		TestGroupContinuesWhereTheLogWasTrimmed
//	who leaves holds nothing and holds up nobody
//		TestLeaversHoldNothing
//		TestGroupContinuesWhileItsOldestMemberDrains
//		TestAllWhoWaitForALeaverAreAnswered
//		TestUnsubscribeIsAnsweredThoughTheRuntimeStops
//		TestUnsubscribeLeavesNothing
//		TestSlowUserCodeIsNoFaultOfEtcd
//	members share the partitions evenly, however many come
//		TestScaleToManyMembers
//		TestScaleUpsAndDowns
//		TestMemberIDIsTakenInOneRuntimeToo
//	a group survives the loss or damage of its keys
//		TestGroupKeysDeletedUnderLoad
//		TestGroupKeepsItsMode
//		TestGroupWithSpoiltKeys
//	a deleted topic ends its subscriptions and handles
//		TestSubscriptionsLeaveADeletedTopic
//		TestBadInputDeletedTopic
//		TestStaleLookEndsNothing
//
// # Reading
//
//	nothing is missed
//		TestReaderFindsWhatItMissedWhileItRead
//		TestCutFromManyPartitions
//		TestReadingContinuesAfterARefusedRead
//		TestSeekIsAnsweredThoughItsPartitionIsLost
//	damage is an error of its partition, never silence
//		TestDamagedBatch
//		TestReadsUpToADamagedIndexEntry
//		TestCutAndOneOfManyIsDamaged
//		TestNewGroupBesideADamagedPartition
//	what cannot be used is refused at the call
//		TestBadInputIsRefusedAtTheCall
//		TestBadInputTwoReaders
//
// # An etcd that is restored from a backup
//
//	the log has no gap and no record twice
//		TestRestoredUnderLoad
//		TestRestoredBeforeItWasRead
//		TestRestoredWithACommitUnderWay
//	readers that were further are told
//		TestRestoredAndGrownAgain
//	members and settings are as they are now, not as they were
//		TestRestoredMemberThatLeft
//		TestRestoredToBeforeItsMembers
//		TestRestoredSettings
//
// # Schedules
//
//	each tick is fired once at most, and none is lost while a keeper lives
//		TestKeeperIsKilledWhileSchedulesFire
//		TestSchedulesAfterARestore
//
// # Deleting
//
//	limits hold however fast records are put
//		TestLimitHoldsUnderFullLoad
//	limits delete what is above them and nothing else, whoever dies meanwhile
//		TestLimitsAndWhoIsBehind
//		TestKeeperIsKilled
//		TestKeeperAfterARestore
//		TestRetainedUntilDone
//	who stood on what was deleted continues behind it, and is told
//		TestMissedRecordsAreCounted
//	a topic that refuses what is too much says so
//		TestFullTopicRefuses
//	a topic that is compacted keeps the newest record of each key, whoever dies meanwhile
//		TestCompactedByKey
//		TestCompactionLeavesTheWindowOfIDs
//		TestCompactingKeeperIsKilled
//		TestCompactionAfterARestore
//		TestErasedOffsetsArePassedOver
//	what has expired or was deleted is given to nobody
//		TestTTLOfATopic
//		TestExpiredRecordsAreDeleted
//		TestExpiringKeeperIsKilled
//		TestDeletedRecordsAreGivenToNobody
package topics
