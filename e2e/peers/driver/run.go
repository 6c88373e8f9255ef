package driver

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

const (
	maxErrors     = 20
	maxErrorBytes = 300
)

// Report collects what is not counted in requests. Its methods may be called from anywhere.
type Report struct {
	mu       sync.Mutex
	attempts int
	errors   []string
}

// Attempt counts a start of the drain.
func (r *Report) Attempt() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attempts++
}

// Error notes what the peer reported; beyond the bound, it is dropped.
func (r *Report) Error(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.errors) < maxErrors {
		text := []byte(err.Error())
		r.errors = append(r.errors, string(text[:min(len(text), maxErrorBytes)]))
	}
}

type result struct {
	Peer     string         `json:"peer"`
	Drained  bool           `json:"drained"`
	Seconds  float64        `json:"seconds"`
	Attempts int            `json:"attempts"`
	Evicted  int            `json:"evicted"`
	Requests int            `json:"requests"`
	Answers  map[string]int `json:"answers"`
	Errors   []string       `json:"errors"`
}

// Run waits for its cue if asked to, runs the drain, and prints the result, whatever ended it. The drain returns nil
// when the node is drained. Its context ends with the time-out or a signal; it need not have returned by then.
func Run(peer string, options *Options, requests *Requests, drain func(context.Context, *Report) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if options.Wait {
		if err := cue(ctx); err != nil {
			return err
		}
	}
	requests.reset()
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, options.Timeout)
	defer cancel()

	var report Report
	done := make(chan error, 1)
	go func() { done <- drain(ctx, &report) }()
	drained := false
	select {
	case err := <-done:
		if drained = err == nil; !drained {
			report.Error(err)
		}
	case <-ctx.Done():
	}

	total, accepted, answers := requests.sent()
	report.mu.Lock()
	defer report.mu.Unlock()
	return line(result{
		Peer:     peer,
		Drained:  drained,
		Seconds:  float64(time.Since(start).Milliseconds()) / 1000,
		Attempts: report.attempts,
		Evicted:  accepted,
		Requests: total,
		Answers:  answers,
		Errors:   append([]string{}, report.errors...),
	})
}

// cue says that the driver is ready, and waits for a line on stdin.
func cue(ctx context.Context) error {
	if err := line(map[string]bool{"ready": true}); err != nil {
		return err
	}
	read := make(chan error, 1)
	go func() {
		_, err := bufio.NewReader(os.Stdin).ReadString('\n')
		read <- err
	}()
	select {
	case err := <-read:
		if errors.Is(err, io.EOF) {
			return errors.New("stdin ended before the line that starts the drain")
		}
		return err
	case <-ctx.Done():
		return errors.New("stopped before the drain started")
	}
}

func line(value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	_, err = fmt.Printf("%s\n", text)
	return err
}
