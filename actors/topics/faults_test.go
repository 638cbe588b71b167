package topics

import (
	"errors"
	"testing"

	"github.com/penstock-io/penstock/messages"
)

// Promise: what is wrong with a producer's settings is said before anything begins.
func TestProducerConfig(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg ProducerConfig
		ok  bool
	}{
		"nothing set":              {ProducerConfig{}, true},
		"the smallest buffer":      {ProducerConfig{MaxBuffer: messages.MaxRecordBytes}, true},
		"a smaller buffer":         {ProducerConfig{MaxBuffer: messages.MaxRecordBytes - 1}, false},
		"a negative buffer":        {ProducerConfig{MaxBuffer: -1}, false},
		"a partitioner of its own": {ProducerConfig{Partitioner: Manual(func(*messages.Message, int) int { return 0 })}, true},
		"that partitioner, nil":    {ProducerConfig{Partitioner: Manual(nil)}, false},
	} {
		cfg := tt.cfg
		cfg.EnsureDefaults()
		if err := cfg.Validate(); (err == nil) != tt.ok || err != nil && !errors.Is(err, messages.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		if cfg.MaxBuffer == 0 || cfg.Partitioner == nil {
			t.Errorf("%s: no defaults: %+v", name, cfg)
		}
	}
}

// Promise: so is what is wrong with a reset of offsets in every topic.
func TestResetFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		to   messages.Start
		cfg  ResetConfig
		want error
	}{
		"the earliest, all partitions": {messages.Earliest(), ResetConfig{}, nil},
		"the first offset":             {messages.AtOffset(0), ResetConfig{}, nil},
		"an offset before it":          {messages.AtOffset(-1), ResetConfig{}, messages.ErrOffsetOutOfRange},
		"the last partition of any":    {messages.Latest(), ResetConfig{Partitions: []int{0, messages.MaxPartitions - 1}}, nil},
		"a partition of none":          {messages.Latest(), ResetConfig{Partitions: []int{0, messages.MaxPartitions}}, messages.ErrNoPartition},
		"a negative partition":         {messages.Latest(), ResetConfig{Partitions: []int{-1}}, messages.ErrNoPartition},
	} {
		if err := resetFaults(tt.to, tt.cfg); (err == nil) != (tt.want == nil) || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

// Promise: of a change only what is set is judged.
func TestChangeFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		change messages.TopicUpdate
		ok     bool
	}{
		"nothing":             {messages.TopicUpdate{}, true},
		"more partitions":     {messages.TopicUpdate{Partitions: messages.MaxPartitions}, true},
		"too many partitions": {messages.TopicUpdate{Partitions: messages.MaxPartitions + 1}, false},
		"records too large":   {messages.TopicUpdate{MaxRecordBytes: messages.MaxRecordBytes + 1}, false},
	} {
		if err := changeFaults(tt.change); (err == nil) != tt.ok || err != nil && !errors.Is(err, messages.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
