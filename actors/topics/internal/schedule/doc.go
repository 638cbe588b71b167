// Package schedule says when schedules tick, and what is due: functions over data.
//
// What it promises:
//
//   - The ticks of a schedule are the same for everybody who asks, and grow strictly.
//   - An expression is matched against the clocks of its time zone. One whose hour is *
//     ticks whenever these show a time that matches: in the hour that clocks are set back
//     over, twice; of what they skip, never.
//   - One that names hours ticks once for each time of the clocks. What they skip ticks at
//     the moment of the change, once for all that is skipped; what they show twice ticks the
//     first time.
//   - An interval is not affected by time zones.
package schedule
