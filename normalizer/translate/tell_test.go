package translate_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/normalizer/translate"
	"github.com/heedhq/heed/schemas"
)

// A callback that numbers all its items alike is told apart in linear time: of 1,024 such items each
// was compared by way of the ids of all before it, half a million hashes.
func TestManyItemsWithOneIDAreToldApartQuickly(t *testing.T) {
	var items []adapter.Item
	for i := range adapter.MaxItems {
		item := stop()
		item.Index, item.Data.User = i, &schemas.User{Address: schemas.Address(fmt.Sprintf("+1415555%04d", i/2)), Kind: schemas.UserPhone}
		items = append(items, item)
	}
	best := time.Hour
	for range 3 {
		start := time.Now()
		outs, _ := translate.Events(rawOf("{}"), adapter.Result{Items: items}, translate.Envelope{})
		best = min(best, time.Since(start))
		ids := map[string]bool{}
		for i := range outs {
			ids[outs[i].Event.ID] = true
		}
		if len(ids) != adapter.MaxItems/2 || outs[0].Event.ID != outs[1].Event.ID {
			t.Fatalf("%d ids for %d different items", len(ids), adapter.MaxItems/2)
		}
	}
	if best > 100*time.Millisecond {
		t.Errorf("it takes %v", best)
	}
	t.Log(best)
}
