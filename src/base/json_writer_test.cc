#include "base/json_writer.h"

#include <gtest/gtest.h>

#include <limits>
#include <utility>

namespace benchfs {
namespace {

TEST(JsonWriter, PlacesCommasBetweenMembersAndElementsOnly) {
  JsonWriter json;
  json.begin_object();
  json.field("a", 1);
  json.begin_object("empty");
  json.end_object();
  json.begin_array("list");
  json.element(std::uint64_t{18446744073709551615U});
  json.begin_object();
  json.field("b", true);
  json.end_object();
  json.element(-2);
  json.end_array();
  json.field("c", "text");
  json.end_object();
  EXPECT_EQ(std::move(json).take(),
            R"({"a":1,"empty":{},"list":[18446744073709551615,{"b":true},-2],"c":"text"})");
}

TEST(JsonWriter, EscapesWhateverAClientCallsItself) {
  JsonWriter json;
  json.begin_array();
  json.element(std::string_view("q\" b\\ n\n z\0 u\xc3\xa4 \x7f", 17));
  json.end_array();
  EXPECT_EQ(std::move(json).take(), R"(["q\" b\\ n\u000a z\u0000 u\u00c3\u00a4 \u007f"])");
}

TEST(JsonWriter, ANumberThatIsNoneIsNull) {
  JsonWriter json;
  json.begin_object();
  json.field("share", 0.25);
  json.field("infinite", std::numeric_limits<double>::infinity());
  json.field("nan", std::numeric_limits<double>::quiet_NaN());
  json.end_object();
  EXPECT_EQ(std::move(json).take(), R"({"share":0.250000,"infinite":null,"nan":null})");
}

}  // namespace
}  // namespace benchfs
