#include "history/board.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace benchfs::history {

Board* map_board(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ::ftruncate(fd, sizeof(Board)) != 0) {
    return nullptr;
  }
  void* page = ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ::close(fd);
  return page == MAP_FAILED ? nullptr : static_cast<Board*>(page);
}

}  // namespace benchfs::history
