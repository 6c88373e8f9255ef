// drain empties a node by the library behind `kubectl drain`, set and restarted as aws-node-termination-handler does.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"eci-operator.io/e2e/peers/driver"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/kubectl/pkg/drain"
)

const (
	// What client-go has when nothing is said, as the handler does.
	defaultQPS   = 5
	defaultBurst = 10
	// The handler's default for node-termination-grace-period.
	defaultDrainTimeout = 120 * time.Second
	// The handler forgets the notice of a drain that failed. Its monitor brings the notice back, and the drain starts
	// anew: at once in the best case, which is the one that is played here.
	monitorTick = 2 * time.Second
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run() error {
	var options driver.Options
	flags := flag.NewFlagSet("drain", flag.ExitOnError)
	options.Register(flags, defaultQPS, defaultBurst)
	drainTimeout := flags.Duration("drain-timeout", defaultDrainTimeout, "time-out of one attempt")
	if err := options.Parse(flags); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", options.Kubeconfig)
	if err != nil {
		return fmt.Errorf("read %s: %w", options.Kubeconfig, err)
	}
	config.QPS, config.Burst = float32(options.QPS), options.Burst
	requests := &driver.Requests{}
	config.Wrap(requests.Wrap)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("build the client: %w", err)
	}
	return driver.Run("drain", &options, requests, func(ctx context.Context, report *driver.Report) error {
		helper := helper(ctx, client, &options, *drainTimeout)
		tick := time.NewTicker(monitorTick)
		defer tick.Stop()
		for {
			report.Attempt()
			err := cordonAndDrain(ctx, helper, options.Node)
			if err == nil {
				return nil
			}
			report.Error(err)
			fmt.Fprintln(os.Stderr, "drain failed:", err)
			// A tick that passed during the attempt is no reason to start at once.
			select {
			case <-tick.C:
			default:
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
}

// helper has the handler's settings: everything goes, by eviction, with the pods' own grace periods.
func helper(
	ctx context.Context,
	client kubernetes.Interface,
	options *driver.Options,
	timeout time.Duration,
) *drain.Helper {
	helper := &drain.Helper{
		Ctx:                 ctx,
		Client:              client,
		Force:               true,
		GracePeriodSeconds:  -1,
		IgnoreAllDaemonSets: true,
		DeleteEmptyDirData:  true,
		Timeout:             timeout,
		PodSelector:         options.PodSelector,
		Out:                 os.Stderr,
		ErrOut:              os.Stderr,
	}
	if options.Namespace != "" {
		helper.AdditionalFilters = []drain.PodFilter{func(pod corev1.Pod) drain.PodDeleteStatus {
			if pod.Namespace == options.Namespace {
				return drain.MakePodDeleteStatusOkay()
			}
			return drain.MakePodDeleteStatusSkip()
		}}
	}
	return helper
}

// cordonAndDrain is one attempt, with the handler's requests that have an effect.
func cordonAndDrain(ctx context.Context, helper *drain.Helper, name string) error {
	node, err := helper.Client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("get node %s: %w", name, err)
	}
	if err := drain.RunCordonOrUncordon(helper, node, true); err != nil {
		return fmt.Errorf("cordon node %s: %w", name, err)
	}
	return drain.RunNodeDrain(helper, name)
}
