#include "mount/private_mount.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

#include "mount/device.h"

namespace benchfs::mount {
namespace {

constexpr std::string_view kWithoutNamespaces =
    "'benchfs run' without --mount-namespace needs none, nor does 'benchfs mount' with fusermount3";

std::unexpected<Error> no_user_namespace(int error) {
  std::string_view why =
      "an administrator allows them with 'sysctl user.max_user_namespaces=1000' "
      "and, where it exists, 'sysctl kernel.unprivileged_userns_clone=1'";
  if (error == EPERM) {
    why =
        "a container or a chroot forbids them, or an administrator does: see 'sysctl "
        "kernel.unprivileged_userns_clone kernel.apparmor_restrict_unprivileged_userns'";
  }
  return fail_system(
      error, fmt::format("user namespaces are not to be had: {}. {}", why, kWithoutNamespaces));
}

Status write_file(const char* path, const std::string& text) {
  Fd file(::open(path, O_WRONLY | O_CLOEXEC));
  if (!file.is_open() || ::write(file.get(), text.data(), text.size()) < 0) {
    return fail_system(errno, path);
  }
  return {};
}

Status enter_namespace() {
  if (::unshare(CLONE_NEWNS) == 0) {
    return {};
  }
  uid_t uid = ::geteuid();
  gid_t gid = ::getegid();
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
    return no_user_namespace(errno);
  }
  BENCHFS_TRY_VOID(write_file("/proc/self/uid_map", fmt::format("{} {} 1\n", uid, uid)));
  BENCHFS_TRY_VOID(write_file("/proc/self/setgroups", "deny"));
  return write_file("/proc/self/gid_map", fmt::format("{} {} 1\n", gid, gid));
}

}  // namespace

Result<Fd> mount_in_own_namespace(const std::string& directory, const std::string& source) {
  BENCHFS_TRY_VOID(check_device());
  BENCHFS_TRY_VOID(enter_namespace());
  // What is mounted here stays here.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) {
    return fail_system(errno, "making the mounts of the namespace its own");
  }
  // The kernel accepts it only from the user namespace that mounts.
  Fd device(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!device.is_open()) {
    return fail_system(errno, "/dev/fuse");
  }
  std::string data = fmt::format(
      "fd={},rootmode=40000,user_id={},group_id={},default_permissions,"
      "allow_other",
      device.get(),
      ::geteuid(),
      ::getegid());
  if (::mount(
          source.c_str(), directory.c_str(), "fuse.benchfs", MS_NOSUID | MS_NODEV, data.c_str()) !=
      0) {
    return fail_system(
        errno,
        fmt::format("mounting in a namespace, which a container or AppArmor may forbid. {}",
                    kWithoutNamespaces));
  }
  return device;
}

}  // namespace benchfs::mount
