"""The renderer of deploy/kubernetes: what it does as Go's text/template and Helm's functions do by their documentation, and
what it refuses because it is outside of the subset, or because versions of Helm differ.
"""
import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "deploy", "kubernetes"))
import gotemplate  # noqa: E402
import render  # noqa: E402
import yaml_text  # noqa: E402


def go(source, **values):
    return gotemplate.Engine({"t.yaml": source}).render("t.yaml", {"Values": values, "Release": {"Name": "r"}})


class Semantics(unittest.TestCase):
    def test_trimming_takes_all_white_space_on_its_side_and_nothing_else(self):
        self.assertEqual(go("a \n\t {{- `x` -}} \n b"), "axb")
        self.assertEqual(go("a {{ `x` }} b"), "a x b")
        self.assertEqual(go("{{23 -}} < {{- 45}}"), "23<45")  # the example of text/template's page
        self.assertEqual(go("a\n{{- /* a }} comment */ -}}\nb"), "ab")
        self.assertEqual(go("{{-3}}"), "-3")  # no blank after it: a number, no trimming

    def test_what_is_empty_is_false(self):
        for value, said in (("", "no"), ([], "no"), ({}, "no"), (False, "no"), (None, "no"), ("0", "yes"), ([0], "yes"),
                            ({"a": 0}, "yes"), (True, "yes")):
            self.assertEqual(go("{{ if .Values.v }}yes{{ else }}no{{ end }}", v=value), said, value)
        self.assertEqual(go("{{ if int64 .Values.v }}yes{{ else }}no{{ end }}{{ if int64 .Values.w }}yes{{ end }}", v=0, w=1), "noyes")
        self.assertEqual(go("{{ if .Values.absent }}yes{{ else }}no{{ end }}"), "no")

    def test_and_or_give_the_deciding_argument_and_stop_there(self):
        self.assertEqual(go("{{ or `` `a` `b` }}"), "a")
        self.assertEqual(go("{{ and `a` `b` }}"), "b")
        self.assertEqual(go("{{ if and .Values.a (eq .Values.a.b `c`) }}x{{ else }}y{{ end }}"), "y")
        self.assertEqual(go("{{ if or true (fail `never asked`) }}x{{ end }}"), "x")

    def test_default_counts_what_is_empty_as_absent(self):
        self.assertEqual(go("{{ .Values.v | default `d` }}", v=""), "d")
        self.assertEqual(go("{{ .Values.v | default `d` }}", v="w"), "w")
        self.assertEqual(go("{{ .Values.none | default `d` }}"), "d")

    def test_range_goes_by_sorted_keys_and_has_an_else(self):
        self.assertEqual(go("{{ range $k, $v := .Values.m }}{{ $k }}{{ $v }}{{ end }}", m={"b": "2", "a": "1"}), "a1b2")
        self.assertEqual(go("{{ range .Values.l }}{{ . }}{{ else }}none{{ end }}", l=[]), "none")
        self.assertEqual(go("{{ range $i, $v := .Values.l }}{{ $i }}{{ $v }}{{ end }}", l=["x", "y"]), "0x1y")

    def test_with_changes_the_dot_and_dollar_stays_the_root(self):
        self.assertEqual(go("{{ with .Values.a }}{{ .b }}{{ $.Release.Name }}{{ else }}none{{ end }}", a={"b": "c"}), "cr")
        self.assertEqual(go("{{ with .Values.a }}{{ . }}{{ else }}{{ $.Release.Name }}{{ end }}"), "r")

    def test_variables_end_with_their_block_unless_they_are_assigned(self):
        self.assertEqual(go("{{ $x := `a` }}{{ if true }}{{ $x := `b` }}{{ end }}{{ $x }}"), "a")
        self.assertEqual(go("{{ $x := `a` }}{{ if true }}{{ $x = `b` }}{{ end }}{{ $x }}"), "b")

    def test_include_has_its_own_root(self):
        self.assertEqual(go("{{ define `n` }}{{ .k }}{{ $.k }}{{ end }}{{ include `n` (dict `k` `v`) }}"), "vv")

    def test_else_if(self):
        source = "{{ if eq .Values.v `a` }}1{{ else if eq .Values.v `b` }}2{{ else }}3{{ end }}"
        self.assertEqual([go(source, v=value) for value in "abc"], ["1", "2", "3"])

    def test_yaml_of_a_value_is_sorted_indented_and_means_the_same(self):
        value = {"b": [1, {"y": "no", "x": "a: b"}], "a": {}, "on": "1e3", "c": "0x10", "d": "line\nline\n", "e": "\u2028\x07", "f": None, "g": "~"}
        text = go("{{ toYaml .Values.v | nindent 2 }}", v=value)
        self.assertTrue(text.startswith("\n  a: {}\n  b:\n  - 1\n  - x: "), text)
        self.assertEqual(yaml_text.load(text), value)

    def test_quote_is_gos(self):
        self.assertEqual(go("{{ .Values.v | quote }}", v="a\"b\\c\n\t\x01é"), '"a\\"b\\\\c\\n\\t\\x01é"')
        self.assertEqual(go("{{ quote true }}"), '"true"')
        self.assertEqual(go("{{ int64 .Values.v | quote }}", v=1000000), '"1000000"')

    def test_arithmetic_and_texts(self):
        self.assertEqual(go("{{ printf `%s-%d` `a` (add 1 (int64 .Values.v)) }}", v=2), "a-3")
        self.assertEqual(go("{{ div 7 2 }}{{ mul 2 3 }}{{ len .Values.l }}", l=["a"]), "361")
        self.assertEqual(go("{{ trunc 3 `abcdef` }}{{ trimSuffix `-` `x-` }}{{ replace `.` `-` `a.b` }}"), "abcxa-b")


class Refusals(unittest.TestCase):
    def refused(self, source, about, **values):
        with self.assertRaises(gotemplate.TemplateError) as caught:
            go(source, **values)
        self.assertRegex(str(caught.exception), about or "t")
        self.assertRegex(str(caught.exception), r"^t\.yaml:\d+: ", "no line is named")

    def test_the_line_is_the_innermost(self):
        self.refused("{{ define `n` }}\n\n{{ fail `here` }}{{ end }}\n\n\n{{ include `n` . }}", r"^t\.yaml:3: here")

    def test_what_is_outside_of_the_subset(self):
        for source, about in (("{{ tpl `x` . }}", "tpl is not in the subset"), ("{{ lookup `v1` }}", "lookup is not"), ("{{ block `a` . }}{{ end }}", "block"),
                              ("{{ template `a` . }}", "template"), ("{{ range .Values.l }}{{ break }}{{ end }}", "break"), ("{{ .Values.v.Method 1 }}", "no function"),
                              ("{{ with .Values.a }}{{ else with .Values.b }}{{ end }}", "only 'else'")):
            with self.subTest(source):
                self.refused(source, about, l=[1], v={})

    def test_what_does_not_end(self):
        for source in ("{{ if true }}", "{{ range .Values.l }}", "{{ define `a` }}", "{{ `a`", "{{ end }}", "{{ else }}", "{{ (add 1 }}", "{{ }}", "{{ | quote }}", "{{ `a }}"):
            with self.subTest(source):
                self.refused(source, "", l=[])

    def test_numbers_that_versions_of_helm_print_differently(self):
        for source in ("{{ .Values.n }}", "{{ .Values.n | quote }}", "{{ if eq .Values.n 1000000 }}{{ end }}", "{{ if gt .Values.n 1 }}{{ end }}", "{{ if .Values.n }}{{ end }}",
                       "{{ .Values.n | default `x` }}", "{{ not .Values.n }}"):
            with self.subTest(source):
                self.refused(source, "number|int64|needs a text", n=1000000)

    def test_what_is_not_there_is_not_printed(self):
        for source in ("{{ .Values.a }}", "{{ .Values.a | quote }}", "{{ .Values.a.b }}", "{{ toYaml .Values.a }}", "{{ $x }}", "{{ include `no` . }}"):
            with self.subTest(source):
                self.refused(source, "")

    def test_a_text_cannot_leave_its_place(self):
        for hostile in ("a\nb: c", "{{ fail }}", "x # y", "a: b", "'", "- a", "", " a", "${X}", "&a", "*a", "!!python/object"):
            with self.subTest(hostile):
                self.refused("k: {{ .Values.v }}", "without quote", v=hostile)
                self.assertEqual(yaml_text.load(go("k: {{ .Values.v | quote }}", v=hostile)), {"k": hostile})
                self.assertEqual(yaml_text.load(go("k:\n  {{- toYaml .Values.v | nindent 2 }}", v={hostile: [hostile]})), {"k": {hostile: [hostile]}})

    def test_kinds_that_text_template_does_not_compare(self):
        self.refused("{{ if eq .Values.v 1 }}{{ end }}", "compares", v="1")

    def test_a_define_that_includes_itself(self):
        self.refused("{{ define `n` }}{{ include `n` . }}{{ end }}{{ include `n` . }}", "never ends")

    def test_a_name_that_is_defined_twice(self):
        with self.assertRaisesRegex(gotemplate.TemplateError, "twice"):
            gotemplate.Engine({"a.tpl": "{{ define `n` }}{{ end }}", "b.tpl": "{{ define `n` }}{{ end }}"})


class Yaml(unittest.TestCase):
    def test_texts_that_yaml_takes_for_something_else_are_quoted(self):
        for text in ("yes", "No", "on", "null", "~", "1", "1.5", "1e3", "0o7", "0x1f", "1_000", ".inf", "-", "", " x", "a b", "a:b", "2026-01-01", "=", "<<", "e3", "1:30"):
            self.assertTrue(yaml_text.scalar(text).startswith('"'), text)
            self.assertEqual(yaml_text.load(yaml_text.dump({"k": text})), {"k": text})

    def test_a_text_of_lines_is_a_block_that_reads_back(self):
        for text in ("a\nb\n", "a\n", "a\n\n", "a \nb\n", "\na\nb\n", " a\nb\n", "a\nb", "a\n  b\nc\n", "a\n\tb\n"):
            for value in ({"k": text}, [text], [[text]], {"k": [{"l": text}]}):
                self.assertEqual(yaml_text.load(yaml_text.dump(value)), value, repr(text))
        self.assertIn("k: |", yaml_text.dump({"k": "a\n  b\nc\n"}))

    def test_a_key_that_stands_twice_is_refused(self):
        with self.assertRaisesRegex(render.yaml.YAMLError, "twice"):
            yaml_text.load("a: 1\nb:\n  c: 1\n  c: 2\n")

    def test_what_has_no_place_is_refused(self):
        for value in (1.5, b"x", {1, 2}):
            with self.assertRaises(TypeError):
                yaml_text.dump({"k": value})


class Values(unittest.TestCase):
    def test_maps_are_merged_lists_are_not_and_null_takes_away(self):
        self.assertEqual(render.merged({"a": {"b": 1, "c": 2}, "l": [1, 2], "d": 3}, {"a": {"b": 9, "c": None}, "l": [3]}),
                         {"a": {"b": 9}, "l": [3], "d": 3})

    def test_a_newline_at_the_end_does_not_fit_a_pattern(self):
        schema = {"properties": {"name": {"pattern": "^[a-z]+$"}}}
        render.check_values(schema, {"name": "abc"})
        with self.assertRaises(render.ChartError):
            render.check_values(schema, {"name": "abc\n"})


if __name__ == "__main__":
    unittest.main(verbosity=1)
