// How the user namespace of this process numbers users (user_namespaces(7)). Files and peers of
// users without a number here show kOverflowUser.
#pragma once

#include <sys/types.h>

#include <optional>

namespace benchfs {

inline constexpr uid_t kOverflowUser = 65534;

// The number of a user of this namespace in the one around it; itself where there is none around.
// Nothing: kOverflowUser may be anybody here.
std::optional<uid_t> user_outside(uid_t inside);
// Whether a user of the namespace around has a number here.
bool is_user_known(uid_t outside);

}  // namespace benchfs
