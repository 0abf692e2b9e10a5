#include "azure/app/expression.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "azure/app/evaluate.h"
#include "base/error.h"

namespace tb::azure {
namespace {

std::string reason_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& error) {
    return error.reason;
  }
  return "nothing";
}

TEST(Expression, IsWhatStandsBetweenBrackets) {
  EXPECT_TRUE(is_expression("[concat('a')]"));
  EXPECT_FALSE(is_expression("[[concat('a')]"));
  EXPECT_FALSE(is_expression("[Unit"));
  EXPECT_FALSE(is_expression("["));
  EXPECT_EQ(literal_text("[[Unit]"), "[Unit]");
  for (std::string_view text : {"[Unit]", "[[x", "plain", ""}) EXPECT_EQ(literal_text(escaped_literal(text)), text);
}

TEST(Expression, ReadsWhatItWrites) {
  for (std::string_view text :
       {"[parameters('a')]", "[concat('it''s', 1, -2)]", "[f().a.?b[0][?variables('x')]]", "[ns.f(g(h()))]",
        "['plain']", "[reference(resourceId('a/b', 'c'), '2024-01-01').x[0].y]"}) {
    EXPECT_EQ(to_text(parse_expression(text)), text);
  }
  EXPECT_EQ(to_text(parse_expression("[ concat( 'a' ,\n\t'b' ) ]")), "[concat('a', 'b')]");
  EXPECT_EQ(parse_expression("['line\nbreak']").text, "line\nbreak");
}

TEST(Expression, RefusesWhatIsNone) {
  for (std::string_view text : {"plain", "[]", "[f(]", "[f)]", "[f(,)]", "[f('a'']", "[f() g()]", "[1.5]", "[f().]",
                                "[f()[]]", "[.a()]", "[f]", "[99999999999999999999]", "[a.b.c()]", "[f(1 2)]"}) {
    EXPECT_EQ(reason_of([&] { parse_expression(text); }), "expression_malformed") << text;
  }
  std::string deep, long_chain = "[f()";
  for (int i = 0; i < 1000; ++i) {
    deep += "f(";
    long_chain += ".a";
  }
  EXPECT_EQ(reason_of([&] { parse_expression("[" + deep + "]"); }), "expression_malformed");
  EXPECT_EQ(reason_of([&] { parse_expression(long_chain + "]"); }), "expression_malformed");
  EXPECT_EQ(reason_of([&] { parse_expression("['" + std::string(kMaxExpressionBytes, 'x') + "']"); }),
            "expression_malformed");
}

Json evaluated(std::string_view text) {
  const Json main = value_or_throw(Json::parse(R"({
    "parameters": {"given": {"type": "string"}, "other": {"type": "int", "defaultValue": 7}},
    "variables": {"list": ["a", "[parameters('given')]"], "circle": "[variables('circle')]", "object": {"x": {"y": 1}}}})"));
  DeploymentFacts facts;
  facts.parameters.set("given", "G");
  facts.resource_group.set("name", "group").set("location", "here");
  facts.subscription.set("subscriptionId", "sub");
  facts.references["/subscriptions/sub/resourceGroups/group/providers/N/a/b"] = Json::object().set("p", 5);
  return Evaluator(main, facts).value(Json(text));
}

TEST(Evaluator, ComputesWhatTemplatesUse) {
  const std::vector<std::pair<std::string_view, std::string_view>> cases = {
      {"plain", R"("plain")"},
      {"[[x]", R"("[x]")"},
      {"[concat('a', parameters('other'), 'c')]", R"("a7c")"},
      {"[concat(variables('list'), createArray(1))]", R"(["a","G",1])"},
      {"[format('{0}-{1}-{{}}', 'x', 2)]", R"("x-2-{}")"},
      {"[base64('hi')]", R"("aGk=")"},
      {"[base64ToString('aGk=')]", R"("hi")"},
      {"[replace('a-b-c', '-', '')]", R"("abc")"},
      {"[join(variables('list'), '|')]", R"("a|G")"},
      {"[split('a,b', ',')[1]]", R"("b")"},
      {"[string(createObject('a', createArray(1, true(), null())))]", R"("{\"a\":[1,true,null]}")"},
      {"[union(createObject('a', createObject('b', 1)), createObject('a', createObject('c', 2)))]",
       R"({"a":{"b":1,"c":2}})"},
      {"[if(equals(parameters('other'), 7), 'yes', variables('circle'))]", R"("yes")"},
      {"[if(and(true(), not(empty(''))), 1, 2)]", "2"},
      {"[or(false(), startsWith('Standard_NCC40', 'standard_ncc'))]", "true"},
      {"[variables('object').x.y]", "1"},
      {"[variables('object').?z]", "null"},
      {"[resourceId('N/a', 'b')]", R"("/subscriptions/sub/resourceGroups/group/providers/N/a/b")"},
      {"[resourceId('g', 'N/a/c', 'b', 'd')]", R"("/subscriptions/sub/resourceGroups/g/providers/N/a/b/c/d")"},
      {"[reference(resourceId('N/a', 'b'), '2024-01-01').p]", "5"},
      {"[resourceGroup().location]", R"("here")"},
      {"[length('abc')]", "3"},
      {"[max(1, 5, 3)]", "5"},
      {"[greater(2, 1)]", "true"},
      {"[int('12')]", "12"},
      {"[first(split('host/x', '/'))]", R"("host")"},
      {"[substring('abcdef', 2, 3)]", R"("cde")"},
      {"[coalesce(null(), 'x')]", R"("x")"},
      {"[contains(variables('list'), 'G')]", "true"},
      {"[toLower('ABC')]", R"("abc")"},
  };
  for (const auto& [text, gives] : cases) EXPECT_EQ(evaluated(text).dump(), gives) << text;
  EXPECT_EQ(evaluated("[uniqueString('a')]").as_string().size(), 13U);
  EXPECT_EQ(evaluated("[length(newGuid())]").dump(), "36");
}

TEST(Evaluator, RefusesWhatCannotBeComputed) {
  for (std::string_view text : {"[parameters('none')]",
                                "[variables('none')]",
                                "[variables('circle')]",
                                "[nothing()]",
                                "[concat('a', variables('object').q)]",
                                "[base64(1)]",
                                "[format('{9}', 1)]",
                                "[format('{', 1)]",
                                "[format('}', 1)]",
                                "[if(1, 2, 3)]",
                                "[resourceId('N', 'b')]",
                                "[resourceId('N/a')]",
                                "[reference('unknown')]",
                                "[int('1.5')]",
                                "[substring('abc', 2, 5)]",
                                "[substring('abc', -1)]",
                                "[variables('list')[9]]",
                                "[createObject('a')]",
                                "[base64ToString('!')]",
                                "[replace('a', '', 'b')]",
                                "[not(1)]"}) {
    EXPECT_EQ(reason_of([&] { evaluated(text); }), "expression_malformed") << text;
  }
}

TEST(Evaluator, BoundsWhatVariablesMultiply) {
  Json variables = Json::object();
  variables.set("v0", "0123456789");
  for (int i = 1; i < 60; ++i) {
    const std::string below = "variables('v" + std::to_string(i - 1) + "')";
    variables.set("v" + std::to_string(i), "[createArray(" + below + ", " + below + ")]");
  }
  const Json main = Json::object().set("variables", variables);
  EXPECT_EQ(reason_of([&] { Evaluator(main, {}).value(Json("[variables('v59')]")); }), "expression_malformed");
}

TEST(Evaluator, KnowsTheNamesOfFunctions) {
  EXPECT_TRUE(is_template_function("resourceId"));
  EXPECT_TRUE(is_template_function("listKeys"));
  EXPECT_TRUE(is_template_function("contoso.unique"));
  EXPECT_FALSE(is_template_function("exec"));
}

}  // namespace
}  // namespace tb::azure
