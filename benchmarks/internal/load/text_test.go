package load

import (
	"testing"

	"pgregory.net/rapid"
)

func TestTextIsReadAsItWasMade(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id, note := rapid.Uint64().Draw(t, "id"), rapid.Uint64().Draw(t, "note")
		buf := make([]byte, rapid.IntRange(MinRecord, 500).Draw(t, "size"))
		FillText(buf, id, note)
		if i, n, err := ReadText(buf); err != nil || i != id || n != note {
			t.Fatalf("%d, %d came as %d, %d, %v", id, note, i, n, err)
		}
		buf[rapid.IntRange(16, len(buf)-1).Draw(t, "damaged")]++
		if _, _, err := ReadText(buf); err == nil {
			t.Fatal("damage goes unnoticed")
		}
	})
}
