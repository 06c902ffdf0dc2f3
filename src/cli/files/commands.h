// The commands on files: each is the POSIX tool of its name for paths written bfs:/….
#pragma once

#include "cli/command.h"

namespace benchfs::args {
class Command;
}

namespace benchfs::cli {

void add_cat_command(args::Command& app, Context& context);
void add_chmod_command(args::Command& app, Context& context);
void add_chown_command(args::Command& app, Context& context);
void add_cp_command(args::Command& app, Context& context);
void add_df_command(args::Command& app, Context& context);
void add_du_command(args::Command& app, Context& context);
void add_find_command(args::Command& app, Context& context);
void add_ln_command(args::Command& app, Context& context);
void add_ls_command(args::Command& app, Context& context);
void add_mkdir_command(args::Command& app, Context& context);
void add_mv_command(args::Command& app, Context& context);
void add_readlink_command(args::Command& app, Context& context);
void add_rm_command(args::Command& app, Context& context);
void add_rmdir_command(args::Command& app, Context& context);
void add_stat_command(args::Command& app, Context& context);
void add_touch_command(args::Command& app, Context& context);
void add_tree_command(args::Command& app, Context& context);
void add_truncate_command(args::Command& app, Context& context);

}  // namespace benchfs::cli
