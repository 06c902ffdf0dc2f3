// Messages between a test and its agents, through pipes.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace benchfs::test {

bool send_frame(int fd, std::string_view bytes);
// nullopt at the end of the pipe.
std::optional<std::string> receive_frame(int fd);

}  // namespace benchfs::test
