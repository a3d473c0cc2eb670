package road

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/heedhq/heed/deploy/allinone"
)

// InProcess starts the four stages in this process, as heed-demo does.
func InProcess(t testing.TB, o Options) *Road {
	t.Helper()
	r := &Road{t: t, Sink: NewSink(t), Admin: map[string]string{}}
	logs, err := os.Create(filepath.Join(t.TempDir(), "stages.log"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := allinone.Start(t.Context(), allinone.Options{
		Environ:    append([]string{"HEED_INGEST_UNREADY_FOR=1ms", "HEED_PSEUDONYM_KEY=" + pseudonymKey}, o.files(t, r.Sink)...),
		Partitions: o.Partitions,
		Logs:       logs,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Errorf("stopping the stages: %v", err)
		}
		logs.Close()
		if text, err := os.ReadFile(logs.Name()); err == nil && t.Failed() {
			t.Logf("the stages' logs:\n%s", text)
		}
	})
	r.Ingest, r.Consent, r.Dispatcher = s.IngestURL, s.ConsentURL, s.DispatcherURL
	r.Brokers = strings.Split(s.Brokers, ",")
	maps.Copy(r.Admin, s.AdminURLs)
	r.Flush = s.Redis.FlushAll
	return r
}
