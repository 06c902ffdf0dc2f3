// Attributes between C and the file system.
#pragma once

#include <ctime>

#include "base/error.h"
#include "benchfs/benchfs.h"
#include "client/permissions.h"
#include "wire/attr.h"
#include "wire/messages.h"

namespace benchfs::capi {

benchfs_stat_t to_stat(const wire::Attr& attr);

wire::SetAttrRequest mode_request(mode_t mode);
// An id of -1 is left alone.
wire::SetAttrRequest owner_request(uid_t uid, gid_t gid);
// The request of utimensat(2) for two times, or for nullptr = both now.
Result<wire::SetAttrRequest> parse_times(const timespec* times);

// The result of access(2) on this file for the calling process; `mode` combines R_OK, W_OK and
// X_OK, or is F_OK.
Status check_access(const wire::Attr& attr, int mode, client::Ids ids);

}  // namespace benchfs::capi
