#include "cli/files/commands.h"
#include "args/command.h"

namespace benchfs::cli {

void add_file_commands(args::Command& app, Context& context) {
  add_ls_command(app, context);
  add_tree_command(app, context);
  add_stat_command(app, context);
  add_find_command(app, context);
  add_cat_command(app, context);
  add_cp_command(app, context);
  add_mv_command(app, context);
  add_rm_command(app, context);
  add_mkdir_command(app, context);
  add_rmdir_command(app, context);
  add_touch_command(app, context);
  add_truncate_command(app, context);
  add_chmod_command(app, context);
  add_chown_command(app, context);
  add_ln_command(app, context);
  add_readlink_command(app, context);
  add_df_command(app, context);
  add_du_command(app, context);
}

}  // namespace benchfs::cli
