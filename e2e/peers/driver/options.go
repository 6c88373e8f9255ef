// Package driver is what the drivers of all peers have in common: flags, counting of requests, the result. It imports
// nothing but the standard library, so that it puts no constraint on the versions of what is driven.
package driver

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"
)

// Options are the flags that every driver takes.
type Options struct {
	Kubeconfig  string
	Node        string
	Namespace   string
	PodSelector string
	QPS         float64
	Burst       int
	Timeout     time.Duration
	Wait        bool
}

// Register adds the flags, with the client limits of the project that is driven.
func (o *Options) Register(flags *flag.FlagSet, qps float64, burst int) {
	flags.StringVar(&o.Kubeconfig, "kubeconfig", "", "`file` that says whose requests these are (required)")
	flags.StringVar(&o.Node, "node", "", "`name` of the node to drain (required)")
	flags.StringVar(&o.Namespace, "namespace", "", "only pods of this namespace")
	flags.StringVar(&o.PodSelector, "pod-selector", "", "only pods with these labels")
	flags.Float64Var(&o.QPS, "qps", qps, "requests per second of the client")
	flags.IntVar(&o.Burst, "burst", burst, "requests that the client may send at once")
	flags.DurationVar(&o.Timeout, "timeout", 180*time.Second, "when to give up, from the start of the drain")
	flags.BoolVar(&o.Wait, "wait", false, "wait for a line on stdin before the drain starts")
}

// Parse reads the command line and says what is missing or out of range.
func (o *Options) Parse(flags *flag.FlagSet) error {
	if err := flags.Parse(os.Args[1:]); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.Kubeconfig == "":
		return errors.New("--kubeconfig is required")
	case o.Node == "":
		return errors.New("--node is required")
	case o.QPS <= 0 || o.Burst <= 0:
		return fmt.Errorf("--qps %v and --burst %d must be above 0: no peer runs without limits", o.QPS, o.Burst)
	case o.Timeout <= 0:
		return fmt.Errorf("--timeout %v must be above 0", o.Timeout)
	}
	return nil
}
