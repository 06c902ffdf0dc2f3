// What names an entry, without the namespace that says where the clients find it, too.
#pragma once

#include "wire/entry_key.h"

namespace benchfs::server {

using wire::EntryKey;
using wire::EntryKeyEqual;
using wire::EntryKeyHash;
using wire::EntryRef;

}  // namespace benchfs::server
