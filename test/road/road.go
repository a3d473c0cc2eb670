// Package road starts Heed's four stages with everything around them, for tests from outside: the
// same scripts run in one process (InProcess: deploy/allinone with its in-process Kafka and Redis)
// and with four real programs on real Kafka and Redis (Processes). A test sees URLs, a
// subscriber (Sink) and a provider (Post), and cannot tell the two apart, except that programs can
// be killed.
package road

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/heedhq/heed/schemas"
	"github.com/heedhq/heed/test/stack"
)

// Patience is how long a test waits for what must happen. Everything comes within moments on an
// idle machine; a busy one must not make a test fail.
const Patience = 60 * time.Second

// pseudonymKey is a test's: it protects nobody.
const pseudonymKey = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// Options say what to start.
type Options struct {
	Endpoints     string   // the endpoints file
	Subscriptions string   // the subscriptions file; $SINK is the Sink's URL
	Environ       []string // more HEED_ variables, for all stages
	Partitions    int      // of each topic; default 4
	Nodes         int      // of Kafka, with Processes; default 1
}

// Road is the running whole.
type Road struct {
	Ingest, Consent, Dispatcher string            // base URLs of the data ports
	Admin                       map[string]string // base URLs of the admin ports, by stage
	Brokers                     []string
	Sink                        *Sink
	Flush                       func() // empties Redis

	// Of Processes only.
	Stages map[string]*stack.Program
	Kafka  *stack.Cluster
	Redis  *stack.OwnServer

	t testing.TB
}

// files writes the configuration files and returns the variables that name them.
func (o *Options) files(t testing.TB, sink *Sink) []string {
	t.Helper()
	dir := t.TempDir()
	var environ []string
	for variable, text := range map[string]string{
		"HEED_ENDPOINTS_FILE":     o.Endpoints,
		"HEED_SUBSCRIPTIONS_FILE": strings.ReplaceAll(o.Subscriptions, "$SINK", sink.URL),
	} {
		path := filepath.Join(dir, strings.ToLower(variable)+".yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		environ = append(environ, variable+"="+path)
	}
	return append(environ, o.Environ...)
}

// client keeps enough connections for a load: the default keeps two.
var client = &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256}}

// Post sends a captured callback to an endpoint, as the provider would, and returns the answer.
func (r *Road) Post(ctx context.Context, endpoint string, callback schemas.Capture) (status int, body []byte, err error) {
	url := r.Ingest + "/v1/callbacks/" + endpoint
	if query := callback.Query(); query != "" {
		url += "?" + query
	}
	request, err := http.NewRequestWithContext(ctx, callback.Method, url, strings.NewReader(string(callback.Body)))
	if err != nil {
		return 0, nil, err
	}
	for _, h := range callback.Header {
		if !strings.EqualFold(h.Name, "Host") && !strings.EqualFold(h.Name, "Content-Length") {
			request.Header.Add(h.Name, h.Value)
		}
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	return response.StatusCode, body, err
}

// Check asks the consent API one question.
func (r *Road) Check(ctx context.Context, check schemas.Check) (schemas.CheckResult, error) {
	question, err := json.Marshal(schemas.CheckRequest{Checks: []schemas.Check{check}})
	if err != nil {
		return schemas.CheckResult{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.Consent+"/v1/consent/check", strings.NewReader(string(question)))
	if err != nil {
		return schemas.CheckResult{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return schemas.CheckResult{}, err
	}
	defer response.Body.Close()
	var answer schemas.CheckResponse
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return schemas.CheckResult{}, err
	}
	if response.StatusCode != http.StatusOK || len(answer.Results) != 1 {
		return schemas.CheckResult{}, fmt.Errorf("status %d, %d results", response.StatusCode, len(answer.Results))
	}
	return answer.Results[0], nil
}

// Until asks again and again until done says yes, the stage has ended, or Patience is over; why is
// what done said last.
func Until(ctx context.Context, done func() (ok bool, why string)) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		ok, why := done()
		if ok {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("after %s: %s", Patience, why)
		}
	}
}
