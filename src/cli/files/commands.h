// The commands on files: each is the POSIX tool of its name for paths written bfs:/….
#pragma once

#include "cli/command.h"

namespace benchfs::cli {

void add_cat_command(CLI::App& app, Context& context);
void add_chmod_command(CLI::App& app, Context& context);
void add_chown_command(CLI::App& app, Context& context);
void add_cp_command(CLI::App& app, Context& context);
void add_df_command(CLI::App& app, Context& context);
void add_du_command(CLI::App& app, Context& context);
void add_find_command(CLI::App& app, Context& context);
void add_ln_command(CLI::App& app, Context& context);
void add_ls_command(CLI::App& app, Context& context);
void add_mkdir_command(CLI::App& app, Context& context);
void add_mv_command(CLI::App& app, Context& context);
void add_readlink_command(CLI::App& app, Context& context);
void add_rm_command(CLI::App& app, Context& context);
void add_rmdir_command(CLI::App& app, Context& context);
void add_stat_command(CLI::App& app, Context& context);
void add_touch_command(CLI::App& app, Context& context);
void add_tree_command(CLI::App& app, Context& context);
void add_truncate_command(CLI::App& app, Context& context);

}  // namespace benchfs::cli
