#include "mpi/agreement.h"

#include <sysexits.h>

#include "base/log.h"

namespace benchfs::mpi {

std::expected<std::vector<std::int64_t>, int> agree(Ranks& ranks,
                                                    const Outcome<std::int64_t>& own,
                                                    Deadline deadline) {
  Ranks::Pair pair = own ? Ranks::Pair{EX_OK, *own} : Ranks::Pair{own.error().exit_code, 0};
  std::vector<std::int64_t> values;
  int rank = 0;
  for (const Ranks::Pair& said : ranks.gather(pair, deadline)) {
    if (said[0] != EX_OK) {
      if (rank == ranks.rank()) {
        BENCHFS_LOG(kError, "{}", own.error().text);
      }
      return std::unexpected(static_cast<int>(said[0]));
    }
    values.push_back(said[1]);
    ++rank;
  }
  return values;
}

}  // namespace benchfs::mpi
