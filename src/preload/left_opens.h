// Files that this process has closed and others have inherited open.
//
// Another process opens an inherited file at the servers when it first uses it. One without a name
// would be gone if its last open ended before, so a process that closes it keeps an open of its own
// for as long as others have the page of the open file mapped. The kernel counts these: each
// mapping holds a memory file that is open for writing, and that refuses a lease.
#pragma once

#include "preload/descriptions.h"

namespace benchfs::preload {

// Called when a process closes the last descriptor of an open file that others may have. Ends this
// process's mapping of the page.
void leave_to_others(Description& description);
// Closes what no other process has any more. Cheap: the kernel is asked ten times a second at most.
void look_after_left_opens();
// The same before the process ends, without regard to the time.
void end_left_opens();
// In the child of fork(): they are the parent's.
void forget_left_opens();
// Before a program is executed, here or by a child: until it has mapped the pages that it inherits,
// nobody can see that it has them.
void note_execution();
// It could not be executed.
void note_no_execution();
// At the start of a program, when it has joined those that lock what it inherits.
void note_start();
// One was executed that recently, and does not know yet what it has.
bool is_starting(const SharedState& page, int within_ms);

}  // namespace benchfs::preload
