#include "cluster/server_list.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/random.h"
#include "wire/limits.h"

namespace benchfs::cluster {
namespace {

constexpr std::string_view kHeader =
    "# BenchFS Server List\n"
    "# Format: node_id ip:port\n"
    "# run_id: 8f3a09c2d1e4b576\n"
    "# expected_servers: 2\n";

std::string with_header(std::string_view lines) {
  return std::string(kHeader) + std::string(lines);
}

// The damage of a text that must have one.
ServerListError damage_of(std::string_view text) {
  ParsedServerList parsed = parse_server_list(text);
  EXPECT_TRUE(parsed.damage.has_value()) << text;
  return parsed.damage.value_or(ServerListError{});
}

TEST(ServerListText, HeaderAndServersAreRead) {
  auto parsed = parse_server_list(with_header("node_0 192.168.1.10:45678\nnode_1 10.0.0.1:1\n"));
  ASSERT_FALSE(parsed.damage);
  EXPECT_EQ(parsed.list.run_id, 0x8f3a09c2d1e4b576U);
  EXPECT_EQ(parsed.list.expected, 2U);
  ASSERT_EQ(parsed.list.servers.size(), 2U);
  EXPECT_EQ(parsed.list.servers[0], (Server{"node_0", "192.168.1.10", 45678}));
  EXPECT_EQ(parsed.list.servers[1], (Server{"node_1", "10.0.0.1", 1}));
}

TEST(ServerListText, TheFormOfTheRequirementIsRead) {
  auto parsed = parse_server_list(
      "# BenchFS Server List\n# Format: node_id ip:port\nnode_0 192.168.1.10:45678\n");
  ASSERT_FALSE(parsed.damage);
  EXPECT_EQ(parsed.list.run_id, 0U);
  EXPECT_EQ(parsed.list.expected, 0U);
  EXPECT_EQ(parsed.list.servers.size(), 1U);
}

TEST(ServerListText, WhatIsFormattedIsReadBack) {
  Server v4{"a.b-c_9", "127.0.0.1", 65535};
  Server v6{"b", "fd00::11", 1};
  auto parsed = parse_server_list(format_server_list_header(7, 2) + format_server_line(v4) +
                                  format_server_line(v6));
  ASSERT_FALSE(parsed.damage);
  EXPECT_EQ(parsed.list.run_id, 7U);
  EXPECT_EQ(parsed.list.servers, (std::vector<Server>{v4, v6}));
  EXPECT_EQ(v6.address(), "[fd00::11]:1");
}

TEST(ServerListText, CommentsBlankLinesTabsAndCarriageReturnsDoNotMatter) {
  auto parsed = parse_server_list(
      "\r\n# anything\r\n\n   \n#\n\t# run_id: 00000000000000ff\r\n node_0\t \t10.0.0.1:5  \r\n");
  ASSERT_FALSE(parsed.damage);
  EXPECT_EQ(parsed.list.run_id, 0xffU);
  EXPECT_EQ(parsed.list.servers, (std::vector<Server>{{"node_0", "10.0.0.1", 5}}));
}

TEST(ServerListText, ServersComeInNaturalOrder) {
  auto parsed = parse_server_list("node_10 1.1.1.1:1\nnode_2 1.1.1.1:2\nnode_1 1.1.1.1:3\n");
  ASSERT_EQ(parsed.list.servers.size(), 3U);
  EXPECT_EQ(parsed.list.servers[0].node_id, "node_1");
  EXPECT_EQ(parsed.list.servers[1].node_id, "node_2");
  EXPECT_EQ(parsed.list.servers[2].node_id, "node_10");
}

TEST(ServerListText, TheLastLineOfANodeCounts) {
  auto parsed = parse_server_list("b 1.1.1.1:1\na 1.1.1.1:2\nb 1.1.1.1:3\nb 1.1.1.1:4\n");
  ASSERT_EQ(parsed.list.servers.size(), 2U);
  EXPECT_EQ(parsed.list.servers[1], (Server{"b", "1.1.1.1", 4}));
}

TEST(ServerListText, DamageNamesLineContentAndReasonAndTheRestIsKept) {
  auto parsed = parse_server_list(with_header("node_0 10.0.0.1:x\nnode_1 10.0.0.1:1\n"));
  ASSERT_TRUE(parsed.damage);
  EXPECT_EQ(parsed.damage->problem, ServerListProblem::kMalformed);
  EXPECT_EQ(parsed.damage->line, 5U);
  EXPECT_EQ(parsed.damage->content, "node_0 10.0.0.1:x");
  EXPECT_FALSE(parsed.damage->unfinished);
  EXPECT_EQ(parsed.list.servers.size(), 1U);
  parsed.damage->path = "/r/server_list.txt";
  EXPECT_EQ(parsed.damage->to_error().message(),
            "server list /r/server_list.txt line 5: port must be 1 to 65535: 'node_0 10.0.0.1:x': "
            "configuration error");
}

TEST(ServerListText, LinesThatNoClientCouldUseAreMalformed) {
  const std::vector<std::string> lines = {
      "node_0",
      "node_0 ",
      "node_0 10.0.0.1",
      "node_0 10.0.0.1:",
      "node_0 10.0.0.1:0",
      "node_0 10.0.0.1:65536",
      "node_0 10.0.0.1:-1",
      "node_0 10.0.0.1:99999999999999999999",
      "node_0 10.0.0.256:1",
      "node_0 localhost:1",
      "node_0 0.0.0.0:1",
      "node_0 [::]:1",
      "node_0 ::1:1",
      "node_0 [10.0.0.1]:1",
      "node_0 [::1:1",
      "node_0 [fe80::1%eth0]:1",
      "node_0 :1",
      "node_0 10.0.0.1:1 extra",
      "node_0 10.0.0.1:1 # comment",
      "no/de 10.0.0.1:1",
      ".hidden 10.0.0.1:1",
      "n\xc3\xb6"
      "de 10.0.0.1:1",
      std::string(kMaxNodeIdBytes + 1, 'n') + " 10.0.0.1:1",
      std::string(kMaxServerLineBytes + 1, ' '),
      "# run_id: 123",
      "# run_id: 0000000000000000",
      "# run_id: 8f3a09c2d1e4b57g",
      "# expected_servers: 0",
      "# expected_servers: 4097",
      "# expected_servers: four",
  };
  for (const std::string& line : lines) {
    EXPECT_EQ(damage_of("a 10.0.0.1:1\n" + line + "\n").line, 2U) << line;
  }
}

TEST(ServerListText, AHeaderThatContradictsItselfIsMalformed) {
  EXPECT_EQ(damage_of(with_header("# run_id: 8f3a09c2d1e4b577\n")).line, 5U);
  EXPECT_EQ(damage_of(with_header("# expected_servers: 3\n")).line, 5U);
  EXPECT_FALSE(parse_server_list(with_header(kHeader)).damage);
}

TEST(ServerListText, ALineWithoutNewlineIsUnfinishedAndDoesNotCount) {
  auto parsed = parse_server_list(with_header("node_0 10.0.0.1:1\nnode_1 10.0.0.1:4567"));
  ASSERT_TRUE(parsed.damage);
  EXPECT_TRUE(parsed.damage->unfinished);
  EXPECT_TRUE(parsed.damage->is_transient());
  EXPECT_EQ(parsed.damage->line, 6U);
  EXPECT_EQ(parsed.list.servers.size(), 1U);
}

TEST(ServerListText, MoreServersThanExpectedAreMalformed) {
  auto error = damage_of(with_header("c 1.1.1.1:1\na 1.1.1.1:2\nb 1.1.1.1:3\n"));
  EXPECT_EQ(error.line, 7U);
  EXPECT_EQ(error.content, "b 1.1.1.1:3");
}

TEST(ServerListText, TheNumberOfServersIsLimited) {
  std::string text;
  for (std::uint32_t i = 0; i < wire::kMaxShards; ++i) {
    text += fmt::format("n{} 1.1.1.1:1\n", i);
  }
  auto full = parse_server_list(text);
  EXPECT_FALSE(full.damage);
  EXPECT_EQ(full.list.servers.size(), wire::kMaxShards);
  EXPECT_EQ(damage_of(text + "one_more 1.1.1.1:1\n").line, wire::kMaxShards + 1U);
}

TEST(ServerListText, DamagedContentIsShownPrintableAndShort) {
  auto error = damage_of(std::string("\x01\xff") + std::string(100, 'x') + "\n");
  EXPECT_TRUE(error.content.starts_with("\\x01\\xffxxx"));
  EXPECT_TRUE(error.content.ends_with("x..."));
  EXPECT_LT(error.content.size(), 100U);
}

TEST(ServerListText, RandomBytesNeverBreakTheParser) {
  const char* text_seed = std::getenv("BENCHFS_SEED");
  std::uint64_t seed = text_seed != nullptr ? std::strtoull(text_seed, nullptr, 0) : random_id();
  SCOPED_TRACE(fmt::format("BENCHFS_SEED={}", seed));
  Random random(seed);
  constexpr std::string_view kAlphabet = "node_0189 .:[]#\n\r\t\xff\x00run_id:expected_servers:";
  for (int round = 0; round < 2000; ++round) {
    std::string text = round % 2 == 0 ? std::string(kHeader) : std::string();
    for (std::uint64_t i = random.below(200); i > 0; --i) {
      text += kAlphabet[random.below(kAlphabet.size())];
    }
    auto list = parse_server_list(text).list;
    EXPECT_TRUE(std::ranges::is_sorted(list.servers, natural_less, &Server::node_id));
    EXPECT_TRUE(std::ranges::all_of(list.servers,
                                    [](const Server& s) { return check_server(s).has_value(); }));
  }
}

TEST(NaturalOrder, DigitsCompareAsNumbers) {
  EXPECT_TRUE(natural_less("node_2", "node_10"));
  EXPECT_FALSE(natural_less("node_10", "node_2"));
  EXPECT_TRUE(natural_less("r1n9", "r1n10"));
  EXPECT_TRUE(natural_less("r1n10", "r2n1"));
  EXPECT_TRUE(natural_less("node", "node_0"));
  EXPECT_TRUE(natural_less("n99999999999999999999", "n100000000000000000000"));
  EXPECT_TRUE(natural_less("n01", "n1"));
  EXPECT_FALSE(natural_less("n1", "n01"));
  EXPECT_FALSE(natural_less("n1", "n1"));
}

TEST(NaturalOrder, IsATotalOrder) {
  std::vector<std::string> ids;
  constexpr std::string_view kAlphabet = "019a_-";
  for (std::size_t code = 0; code < 6 * 6 * 6; ++code) {
    ids.push_back({kAlphabet[code / 36], kAlphabet[code / 6 % 6], kAlphabet[code % 6]});
  }
  std::ranges::sort(ids, natural_less);
  // Sorting an inconsistent relation leaves pairs in the wrong order somewhere.
  for (std::size_t i = 0; i < ids.size(); ++i) {
    for (std::size_t j = 0; j < ids.size(); ++j) {
      ASSERT_EQ(natural_less(ids[i], ids[j]), i < j) << ids[i] << ' ' << ids[j];
    }
  }
}

TEST(SelectServer, SpreadsClientsAndIsFrozen) {
  ServerList list;
  list.servers.resize(4);
  std::vector<int> clients(4);
  for (int i = 0; i < 4000; ++i) {
    ++clients[select_server_by_hash(fmt::format("client-{}", i), list).value];
  }
  EXPECT_GT(*std::ranges::min_element(clients), 900);
  EXPECT_EQ(select_server_by_hash("client-0", list).value, 0U);
  EXPECT_EQ(select_server_by_hash("rank-17@host", list).value, 2U);
}

TEST(ServerListError, EveryProblemHasItsCodeAndSentence) {
  ServerListError error;
  error.path = "/r/l";
  EXPECT_EQ(error.to_error().to_errno(), ENOENT);
  EXPECT_EQ(error.to_error().message(), "server list /r/l: No such file or directory");
  EXPECT_TRUE(error.is_transient());
  error.problem = ServerListProblem::kUnreadable;
  error.system_errno = EACCES;
  EXPECT_EQ(error.to_error().message(), "server list /r/l: Permission denied");
  EXPECT_FALSE(error.is_transient());
  error.problem = ServerListProblem::kIncomplete;
  error.have = 3;
  error.expected = 4;
  EXPECT_EQ(error.to_error().code, Errc::kNotReady);
  EXPECT_EQ(error.to_error().context, "server list /r/l: 3 of 4 servers are there");
  EXPECT_TRUE(error.is_transient());
  error.problem = ServerListProblem::kEmpty;
  EXPECT_EQ(error.to_error().code, Errc::kNotReady);
  EXPECT_TRUE(error.is_transient());
  error.problem = ServerListProblem::kStale;
  error.wanted_run = 0xab;
  EXPECT_EQ(error.to_error().code, Errc::kStaleRun);
  EXPECT_EQ(error.to_error().context,
            "server list /r/l names no run, wanted is run 00000000000000ab");
  EXPECT_FALSE(error.is_transient());
  error.problem = ServerListProblem::kMalformed;
  EXPECT_EQ(error.to_error().code, Errc::kConfig);
  EXPECT_FALSE(error.is_transient());
}

}  // namespace
}  // namespace benchfs::cluster
