// Package keeper looks after all topics of a prefix: it deletes what their limits say,
// and what was trimmed, deleted or interrupted before. Of all runtimes that have a topic
// open which needs it, one is the keeper at a time: whoever has the leased key of that
// name. The others wait for the key to go.
//
// What it promises:
//
//   - What trims and sweeps compares the key of its office, the topic, and the values that
//     it was decided upon. So a keeper that was deposed and does not know it, and one
//     whose etcd was set back, change nothing; and a job that was killed anywhere is
//     done again by the next keeper, from what stands in etcd.
//   - A tick of a schedule is fired once at most, and late rather than not while a keeper lives.
//   - Each transaction is small, and their rate is bounded.
//   - What a partition has stays near its limits however fast it grows: it is looked at the
//     sooner, and a topic that is made or changed at once.
//   - A clock that is set forward deletes nothing at once; see clock.
//   - A runtime without rights on the key leaves the office to others, and says so once.
//
// A job is one kind of work. To add one, write a type with the methods of Job, whose
// state lasts for one term of office, and name it in newJobs. Its Do is called whenever
// it said that there is more to do, or Keeper.Ring was called with its name; jobs do not
// wait for each other. Everything that it writes goes through functions of
// transport/commitlog that take a commitlog.Office, after Work.Turn. It returns
// commitlog.ErrNotKeeper as it is: that ends the term.
package keeper
