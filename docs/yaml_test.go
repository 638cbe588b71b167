package docs_test

// The YAML of pages: manifests of Kubernetes, and parts of them.

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/penstock-io/penstock/transport/address"
)

// What pages show of Kubernetes, with the names of its API: a field that is not here is
// either misspelt on the page, or to be added here from the reference of Kubernetes.
type (
	metadata struct {
		Name   string            `json:"name,omitempty"`
		Labels map[string]string `json:"labels,omitempty"`
	}
	selector struct {
		MatchLabels map[string]string `json:"matchLabels,omitempty"`
	}
	// head is what every manifest has.
	head struct {
		APIVersion string   `json:"apiVersion"`
		Kind       string   `json:"kind"`
		Metadata   metadata `json:"metadata"`
	}
	deployment struct {
		head
		Spec struct {
			Replicas int `json:"replicas,omitempty"`
			Strategy struct {
				Type          string `json:"type,omitempty"`
				RollingUpdate *struct {
					MaxSurge       int `json:"maxSurge"`
					MaxUnavailable int `json:"maxUnavailable"`
				} `json:"rollingUpdate,omitempty"`
			} `json:"strategy"`
			Selector selector `json:"selector"`
			Template struct {
				Metadata metadata `json:"metadata"`
				Spec     podSpec  `json:"spec"`
			} `json:"template"`
		} `json:"spec"`
	}
	certificate struct {
		head
		Spec struct {
			SecretName string   `json:"secretName"`
			Duration   string   `json:"duration,omitempty"`
			URIs       []string `json:"uris,omitempty"`
			DNSNames   []string `json:"dnsNames,omitempty"`
			Usages     []string `json:"usages"`
			IssuerRef  struct {
				Name string `json:"name"`
				Kind string `json:"kind"`
			} `json:"issuerRef"`
		} `json:"spec"`
	}
	networkPolicy struct {
		head
		Spec struct {
			PodSelector selector `json:"podSelector"`
			PolicyTypes []string `json:"policyTypes"`
			Ingress     []struct {
				From []struct {
					PodSelector selector `json:"podSelector"`
				} `json:"from"`
				Ports []struct {
					Port int `json:"port"`
				} `json:"ports"`
			} `json:"ingress"`
		} `json:"spec"`
	}
	ingress struct {
		head
		Spec struct {
			TLS []struct {
				Hosts      []string `json:"hosts"`
				SecretName string   `json:"secretName"`
			} `json:"tls"`
			Rules []struct {
				Host string `json:"host"`
				HTTP struct {
					Paths []struct {
						Path     string `json:"path"`
						PathType string `json:"pathType"`
						Backend  struct {
							Service struct {
								Name string `json:"name"`
								Port struct {
									Number int `json:"number"`
								} `json:"port"`
							} `json:"service"`
						} `json:"backend"`
					} `json:"paths"`
				} `json:"http"`
			} `json:"rules"`
		} `json:"spec"`
	}
	podSpec struct {
		TerminationGracePeriodSeconds int         `json:"terminationGracePeriodSeconds,omitempty"`
		Containers                    []container `json:"containers,omitempty"`
		Volumes                       []struct {
			Name   string `json:"name"`
			Secret *struct {
				SecretName string `json:"secretName"`
			} `json:"secret,omitempty"`
			EmptyDir *struct {
				Medium string `json:"medium,omitempty"`
			} `json:"emptyDir,omitempty"`
		} `json:"volumes,omitempty"`
	}
	container struct {
		Name  string   `json:"name,omitempty"`
		Image string   `json:"image,omitempty"`
		Env   []envVar `json:"env,omitempty"`
		Ports []struct {
			Name          string `json:"name"`
			ContainerPort int    `json:"containerPort"`
		} `json:"ports,omitempty"`
		ReadinessProbe *probe `json:"readinessProbe,omitempty"`
		LivenessProbe  *probe `json:"livenessProbe,omitempty"`
		VolumeMounts   []struct {
			Name      string `json:"name"`
			MountPath string `json:"mountPath"`
			ReadOnly  bool   `json:"readOnly,omitempty"`
		} `json:"volumeMounts,omitempty"`
	}
	envVar struct {
		Name      string  `json:"name"`
		Value     *string `json:"value,omitempty"`
		ValueFrom *struct {
			FieldRef *struct {
				FieldPath string `json:"fieldPath"`
			} `json:"fieldRef,omitempty"`
			SecretKeyRef *struct {
				Name string `json:"name"`
				Key  string `json:"key"`
			} `json:"secretKeyRef,omitempty"`
		} `json:"valueFrom,omitempty"`
	}
	probe struct {
		HTTPGet struct {
			Path string `json:"path"`
			Port string `json:"port"`
		} `json:"httpGet"`
		PeriodSeconds    int `json:"periodSeconds,omitempty"`
		FailureThreshold int `json:"failureThreshold,omitempty"`
	}
)

// The paths that Runtime.HealthHandler serves.
const readyPath, livePath = "/readyz", "/livez"

// fieldPaths are what the downward API has for environment variables.
var fieldPaths = []string{"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"}

// checkYAML is what is wrong with a manifest, or a part of one.
func checkYAML(text string) error {
	var h struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := yaml.Unmarshal([]byte(text), &h); err != nil {
		return err
	}
	strictly := func(into any) error { return unmarshal(text, into) }
	switch h.APIVersion + " " + h.Kind {
	case "apps/v1 Deployment":
		var d deployment
		if err := strictly(&d); err != nil {
			return err
		}
		labels := d.Spec.Template.Metadata.Labels
		for k, v := range d.Spec.Selector.MatchLabels {
			if labels[k] != v {
				return fmt.Errorf("the selector wants %s=%s, and pods have %v", k, v, labels)
			}
		}
		if len(d.Spec.Selector.MatchLabels) == 0 || len(d.Spec.Template.Spec.Containers) == 0 || d.Spec.Template.Spec.TerminationGracePeriodSeconds == 0 {
			return errors.New("no selector, no containers or no grace period")
		}
		return d.Spec.Template.Spec.check()
	case "cert-manager.io/v1 Certificate":
		var c certificate
		if err := strictly(&c); err != nil {
			return err
		}
		if !slices.Contains(c.Spec.Usages, "server auth") || !slices.Contains(c.Spec.Usages, "client auth") || len(c.Spec.URIs)+len(c.Spec.DNSNames) == 0 {
			return errors.New("links need both usages, and a URI or a DNS name")
		}
		return nil
	case "networking.k8s.io/v1 NetworkPolicy":
		return strictly(&networkPolicy{})
	case "networking.k8s.io/v1 Ingress":
		return strictly(&ingress{})
	case " ":
		var part struct {
			podSpec
			Env []envVar `json:"env,omitempty"` // of a container
		}
		if err := strictly(&part); err != nil {
			return err
		}
		return errors.Join(part.check(), container{Env: part.Env}.check(nil))
	default:
		return fmt.Errorf("it is a %s of %q, which is not known here", h.Kind, h.APIVersion)
	}
}

// unmarshal reads text, and refuses names that are not those of into's, to the letter.
func unmarshal(text string, into any) error {
	if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
		return err
	}
	back, err := yaml.Marshal(into)
	if err != nil {
		return err
	}
	var was, is any
	if err := errors.Join(yaml.Unmarshal([]byte(text), &was), yaml.Unmarshal(back, &is)); err != nil {
		return err
	}
	return within(was, is, "")
}

// within is an error unless all of was is in is.
func within(was, is any, at string) error {
	switch was := was.(type) {
	case map[string]any:
		is, _ := is.(map[string]any)
		for name, v := range was {
			got, ok := is[name]
			if !ok {
				return fmt.Errorf("%s.%s is no field", at, name)
			}
			if err := within(v, got, at+"."+name); err != nil {
				return err
			}
		}
	case []any:
		is, _ := is.([]any)
		for i, v := range was {
			if i >= len(is) {
				return fmt.Errorf("%s[%d] is lost", at, i)
			}
			if err := within(v, is[i], fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p podSpec) check() error {
	volumes := map[string]bool{}
	for _, v := range p.Volumes {
		if volumes[v.Name] = true; (v.Secret == nil) == (v.EmptyDir == nil) {
			return fmt.Errorf("volume %s is not one thing", v.Name)
		}
	}
	for _, c := range p.Containers {
		if err := c.check(volumes); err != nil {
			return fmt.Errorf("container %s: %w", c.Name, err)
		}
	}
	return nil
}

func (c container) check(volumes map[string]bool) error {
	ports := map[string]int{}
	for _, p := range c.Ports {
		ports[p.Name] = p.ContainerPort
	}
	for path, p := range map[string]*probe{readyPath: c.ReadinessProbe, livePath: c.LivenessProbe} {
		if p != nil && (p.HTTPGet.Path != path || ports[p.HTTPGet.Port] == 0) {
			return fmt.Errorf("a probe asks %s at port %q, want %s at one of %v", p.HTTPGet.Path, p.HTTPGet.Port, path, ports)
		}
	}
	for _, m := range c.VolumeMounts {
		if !volumes[m.Name] || !strings.HasPrefix(m.MountPath, "/") {
			return fmt.Errorf("%s is mounted at %s, volumes are %v", m.Name, m.MountPath, slices.Sorted(maps.Keys(volumes)))
		}
	}
	known := map[string]bool{}
	for _, e := range c.Env {
		known[e.Name] = true
		if err := e.check(); err != nil {
			return fmt.Errorf("variable %s: %w", e.Name, err)
		}
		if e.Name != "LISTEN" {
			continue
		}
		text := *e.Value
		for name := range known {
			text = strings.ReplaceAll(text, "$"+name, "10.0.0.1,fd00::1") // as the downward API writes both families
		}
		urls, err := address.Listening(text)
		if err != nil {
			return fmt.Errorf("variable LISTEN: %w", err)
		}
		for _, u := range urls {
			if u.Network() && len(ports) > 0 && !slices.Contains(slices.Collect(maps.Values(ports)), u.PortLow) {
				return fmt.Errorf("%s is at none of the ports %v", u, ports)
			}
		}
	}
	return nil
}

func (e envVar) check() error {
	switch from := e.ValueFrom; {
	case (e.Value == nil) == (from == nil):
		return errors.New("want one of value and valueFrom")
	case from == nil:
		return nil
	case (from.FieldRef == nil) == (from.SecretKeyRef == nil):
		return errors.New("want one of fieldRef and secretKeyRef")
	case from.SecretKeyRef != nil && (from.SecretKeyRef.Name == "" || from.SecretKeyRef.Key == ""):
		return errors.New("secretKeyRef wants a name and a key")
	case from.FieldRef != nil:
		path := from.FieldRef.FieldPath
		if !slices.Contains(fieldPaths, path) && (!strings.HasPrefix(path, "metadata.labels['") || !strings.HasSuffix(path, "']")) {
			return fmt.Errorf("the downward API has no %q", path)
		}
	}
	return nil
}

// Each manifest of a page can be read by Kubernetes, and its parts fit each other.
func TestYAML(t *testing.T) {
	all := blocksOf(t, "yaml")
	for _, b := range all {
		if err := checkYAML(b.text); err != nil {
			t.Errorf("%s: %v", b, err)
		}
	}
	if len(all) < 7 {
		t.Errorf("%d blocks of YAML were found", len(all))
	}
}

// Promise: what is wrong with a manifest is found.
func TestYAMLIsChecked(t *testing.T) {
	var whole string
	for _, b := range blocksOf(t, "yaml") {
		if strings.Contains(b.text, "kind: Deployment") {
			whole = b.text
		}
	}
	for was, broken := range map[string]string{
		"valueFrom: {fieldRef":             "valuefrom: {fieldRef",
		"fieldPath: status.podIPs":         "fieldPath: status.podIPS",
		"{fieldRef: {fieldPath":            "{fieldref: {fieldPath",
		"path: /readyz, port: http":        "path: /readyz, port: https",
		"path: /livez":                     "path: /healthz",
		"matchLabels: {app: orders}":       "matchLabels: {app: order}",
		"labels: {app: orders}}\n    spec": "labels: {app: order}}\n    spec",
		"{name: link-certificates, secret": "{name: links, secret",
		"containerPort: 7000":              "containerPort: 7001",
		"advertise=$POD_IPS":               "advertise=$POD_IP",
		"tls+tcp://:7000":                  "tls://:7000",
		"replicas: 3":                      "replica: 3",
		"kind: Deployment":                 "kind: Deploymnt",
		"      containers:":                "     containers:",
	} {
		if !strings.Contains(whole, was) {
			t.Errorf("the page has no %q", was)
		}
		if err := checkYAML(strings.Replace(whole, was, broken, 1)); err == nil {
			t.Errorf("%q in place of %q is not found", broken, was)
		} else {
			t.Log(err)
		}
	}
}
