// karpenter empties a node by Karpenter's terminator and eviction queue, wired as Karpenter's operator wires them.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"eci-operator.io/e2e/peers/driver"
	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	controllerruntime "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	v1 "sigs.k8s.io/karpenter/pkg/apis/v1"
	"sigs.k8s.io/karpenter/pkg/controllers/node/termination/terminator"
	terminatorevents "sigs.k8s.io/karpenter/pkg/controllers/node/termination/terminator/events"
	"sigs.k8s.io/karpenter/pkg/events"
	karpenteroptions "sigs.k8s.io/karpenter/pkg/operator/options"
)

// The defaults of Karpenter's own options, and the times of its termination controller.
const (
	defaultQPS   = 200
	defaultBurst = 300
	cpuRequests  = 1000 // millicores; sizes the queue
	drainEvery   = time.Second
	conflictWait = 100 * time.Millisecond
)

// How long filling the caches may take.
const syncLimit = time.Minute

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run() error {
	var options driver.Options
	// Not flag.CommandLine: there, controller-runtime has a --kubeconfig of its own.
	flags := flag.NewFlagSet("karpenter", flag.ExitOnError)
	options.Register(flags, defaultQPS, defaultBurst)
	if err := options.Parse(flags); err != nil {
		return err
	}
	logger := funcr.New(func(_, args string) { fmt.Fprintln(os.Stderr, args) }, funcr.Options{})
	log.SetLogger(logger)
	klog.SetLogger(logger)
	config, err := clientcmd.BuildConfigFromFlags("", options.Kubeconfig)
	if err != nil {
		return fmt.Errorf("read %s: %w", options.Kubeconfig, err)
	}
	config.QPS, config.Burst = float32(options.QPS), options.Burst
	requests := &driver.Requests{}
	config.Wrap(requests.Wrap)

	ctx, cancel := context.WithCancel(base(logger))
	defer cancel()
	mgr, err := newManager(ctx, config, &options, logger)
	if err != nil {
		return err
	}
	recorder := events.NewRecorder(mgr.GetEventRecorderFor("karpenter"))
	queue := terminator.NewQueue(mgr.GetClient(), recorder)
	if err := queue.Register(ctx, mgr); err != nil {
		return fmt.Errorf("register the eviction queue: %w", err)
	}
	drainer := terminator.NewTerminator(clock.RealClock{}, mgr.GetClient(), queue, recorder)

	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	if err := ready(ctx, mgr, options.Node, ended); err != nil {
		return err
	}
	return driver.Run("karpenter", &options, requests, func(ctx context.Context, report *driver.Report) error {
		return terminate(ctx, mgr.GetClient(), drainer, recorder, options.Node, report)
	})
}

// base is what Karpenter's code expects to find in every context.
func base(logger logr.Logger) context.Context {
	options := &karpenteroptions.Options{
		CPURequests:  cpuRequests,
		FeatureGates: karpenteroptions.DefaultFeatureGates(),
	}
	return options.ToContext(log.IntoContext(context.Background(), logger))
}

// newManager is Karpenter's manager without leader election and servers. Its cache knows only the chosen pods, so
// that only these are drained.
func newManager(
	ctx context.Context,
	config *rest.Config,
	options *driver.Options,
	logger logr.Logger,
) (manager.Manager, error) {
	selector, err := labels.Parse(options.PodSelector)
	if err != nil {
		return nil, fmt.Errorf("--pod-selector: %w", err)
	}
	pods := cache.ByObject{Label: selector}
	if options.Namespace != "" {
		pods.Namespaces = map[string]cache.Config{options.Namespace: {}}
	}
	mgr, err := controllerruntime.NewManager(config, controllerruntime.Options{
		Logger:      logger,
		Metrics:     server.Options{BindAddress: "0"},
		BaseContext: func() context.Context { return base(logger) },
		Cache:       cache.Options{ByObject: map[client.Object]cache.ByObject{&corev1.Pod{}: pods}},
	})
	if err != nil {
		return nil, fmt.Errorf("build the manager: %w", err)
	}
	byNode := func(object client.Object) []string { return []string{object.(*corev1.Pod).Spec.NodeName} }
	if err := mgr.GetFieldIndexer().IndexField(ctx, &corev1.Pod{}, "spec.nodeName", byNode); err != nil {
		return nil, fmt.Errorf("index pods by node: %w", err)
	}
	return mgr, nil
}

// ready waits until the caches that the drain reads are filled.
func ready(ctx context.Context, mgr manager.Manager, node string, ended <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, syncLimit)
	defer cancel()
	synced := make(chan error, 1)
	go func() {
		if _, err := mgr.GetCache().GetInformer(ctx, &corev1.Node{}); err != nil {
			synced <- fmt.Errorf("watch nodes: %w", err)
			return
		}
		if !mgr.GetCache().WaitForCacheSync(ctx) {
			synced <- fmt.Errorf("the caches were not filled within %v", syncLimit)
			return
		}
		var found corev1.Node
		if err := mgr.GetClient().Get(ctx, client.ObjectKey{Name: node}, &found); err != nil {
			synced <- fmt.Errorf("get node %s: %w", node, err)
			return
		}
		if found.Spec.ProviderID != "" {
			synced <- fmt.Errorf("node %s has a providerID: Karpenter would look for its NodeClaim, which is not part of "+
				"this drain", node)
			return
		}
		synced <- nil
	}()
	select {
	case err := <-synced:
		return err
	case err := <-ended:
		return fmt.Errorf("the manager ended early (%v)", err)
	}
}

// terminate is what Karpenter's termination controller does to a node until it is drained.
func terminate(
	ctx context.Context,
	kube client.Client,
	drainer *terminator.Terminator,
	recorder events.Recorder,
	name string,
	report *driver.Report,
) error {
	for {
		report.Attempt()
		wait := drainEvery
		var node corev1.Node
		if err := kube.Get(ctx, client.ObjectKey{Name: name}, &node); err != nil {
			return fmt.Errorf("get node %s: %w", name, err)
		}
		if err := drainer.Taint(ctx, &node, v1.DisruptedNoScheduleTaint); apierrors.IsConflict(err) {
			wait = conflictWait
		} else if err != nil {
			report.Error(fmt.Errorf("taint node %s: %w", name, err))
		} else if err := drainer.Drain(ctx, &node, nil); err == nil {
			return nil
		} else if terminator.IsNodeDrainError(err) {
			recorder.Publish(terminatorevents.NodeFailedToDrain(&node, err))
		} else {
			report.Error(err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
