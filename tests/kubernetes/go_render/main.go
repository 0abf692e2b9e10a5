// Renders templates as Helm's engine does: Go's own text/template, Sprig's functions, and the few that Helm adds, by their
// documentation. Reads JSON lines {"templates": {name: text}, "root": {…}} from standard input; writes for each a JSON line
// {name: output}, or {"error": text}. With the argument "float", numbers of the values are floats, as in older versions of
// Helm; with "number" they are texts of digits, as in newer ones.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"sigs.k8s.io/yaml"
)

type task struct {
	Templates map[string]string      `json:"templates"`
	Root      map[string]interface{} `json:"root"`
}

func render(t task) (map[string]string, error) {
	set := template.New("charts").Option("missingkey=zero")
	funcs := sprig.TxtFuncMap()
	for _, name := range []string{"env", "expandenv"} {
		delete(funcs, name)
	}
	funcs["include"] = func(name string, data interface{}) (string, error) {
		var out strings.Builder
		err := set.ExecuteTemplate(&out, name, data)
		return out.String(), err
	}
	funcs["toYaml"] = func(value interface{}) string {
		text, err := yaml.Marshal(value)
		if err != nil {
			return ""
		}
		return strings.TrimSuffix(string(text), "\n")
	}
	funcs["required"] = func(message string, value interface{}) (interface{}, error) {
		if value == nil || value == "" {
			return nil, fmt.Errorf("%s", message)
		}
		return value, nil
	}
	set.Funcs(funcs)
	for name, text := range t.Templates {
		if _, err := set.New(name).Parse(text); err != nil {
			return nil, err
		}
	}
	out := map[string]string{}
	for name := range t.Templates {
		if strings.HasPrefix(name, "_") {
			continue
		}
		var text bytes.Buffer
		if err := set.ExecuteTemplate(&text, name, t.Root); err != nil {
			return nil, err
		}
		out[name] = strings.ReplaceAll(text.String(), "<no value>", "")
	}
	return out, nil
}

func main() {
	in := json.NewDecoder(os.Stdin)
	if len(os.Args) > 1 && os.Args[1] == "number" {
		in.UseNumber()
	}
	out := json.NewEncoder(os.Stdout)
	for {
		var t task
		if err := in.Decode(&t); err == io.EOF {
			return
		} else if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		rendered, err := render(t)
		if err != nil {
			rendered = map[string]string{"error": err.Error()}
		}
		if err := out.Encode(rendered); err != nil {
			os.Exit(1)
		}
	}
}
