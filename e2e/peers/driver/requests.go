package driver

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// Requests counts what leaves the client, below its rate limit and its retries.
type Requests struct {
	mu      sync.Mutex
	total   int
	answers map[int]int
}

// Wrap is a transport wrapper as client-go's rest.Config takes it.
func (r *Requests) Wrap(inner http.RoundTripper) http.RoundTripper {
	return counted{inner, r}
}

// reset forgets what was sent while the driver got ready.
func (r *Requests) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total, r.answers = 0, nil
}

// sent is how many requests left, and the status codes of evictions with their counts.
func (r *Requests) sent() (total, accepted int, answers map[string]int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	answers = make(map[string]int, len(r.answers))
	for code, count := range r.answers {
		answers[strconv.Itoa(code)] = count
		if code >= 200 && code < 300 {
			accepted += count
		}
	}
	return r.total, accepted, answers
}

type counted struct {
	inner    http.RoundTripper
	requests *Requests
}

func (c counted) RoundTrip(request *http.Request) (*http.Response, error) {
	c.requests.mu.Lock()
	c.requests.total++
	c.requests.mu.Unlock()
	response, err := c.inner.RoundTrip(request)
	if request.Method == http.MethodPost && strings.HasSuffix(request.URL.Path, "/eviction") {
		code := 0
		if err == nil {
			code = response.StatusCode
		}
		c.requests.mu.Lock()
		if c.requests.answers == nil {
			c.requests.answers = make(map[int]int)
		}
		c.requests.answers[code]++
		c.requests.mu.Unlock()
	}
	return response, err
}

// WrappedRoundTripper lets client-go look through this wrapper.
func (c counted) WrappedRoundTripper() http.RoundTripper {
	return c.inner
}
