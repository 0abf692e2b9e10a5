// An expression that is accepted has one form, and reads as the same again; computing it gives a bounded value or one
// known error.
#include "azure/app/evaluate.h"
#include "base/error.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace tb::azure;
  const std::string_view text = tb::as_text({data, bytes});
  static const tb::Json main_template = tb::value_or_throw(tb::Json::parse(
      R"({"parameters": {"p": {"type": "string", "defaultValue": "x"}},
          "variables": {"v": ["a", "[parameters('p')]"], "w": "[concat(variables('v'), variables('v'))]", "c": "[variables('c')]"}})"));
  std::string once;
  try {
    const Expression expression = parse_expression(text);
    once = to_text(expression);
    FUZZ_CHECK(is_expression(once));
    if (once.size() <= kMaxExpressionBytes) FUZZ_CHECK(to_text(parse_expression(once)) == once);
  } catch (const tb::Error& error) {
    FUZZ_CHECK(error.reason == "expression_malformed");
    FUZZ_CHECK(once.empty());
    return 0;
  }
  try {
    const tb::Json value = Evaluator(main_template, {}).value(parse_expression(text));
    FUZZ_CHECK(value.dump().size() <= 8 * kMaxEvaluatedBytes);
  } catch (const tb::Error& error) {
    FUZZ_CHECK(error.reason == "expression_malformed");
  }
  return 0;
}
