# Several files of a target compiled as one, for builds whose time counts (BENCHFS_UNITY, set by the sanitizer presets):
# a header is parsed, and a template instantiated, once for eight files instead of once for each. The release preset
# goes without: there the compiler warns about each file by itself, and a change of one compiles one.
#
# Files of one target may give the same name to things of their own. A name of which that is true, and which no
# header uses, is listed here and gets the file's number added; a file with others is compiled alone.
set(BENCHFS_OWN_NAMES
  Arguments HoldingService kCloseFlush kCloseTimeout kConnectTimeout kFiles kInstructionTimeout kKey kMaxBytes kName kOff
  kOneAttempt kOwner kPauseAtTheDoor kPoll kRanks kSecond kShard kShort kSweepEvery kTimeout kTooLong kWarnEvery
  stop_signals take_over to_info)

# benchfs_unity(TARGET)
function(benchfs_unity target)
  if(NOT BENCHFS_UNITY)
    return()
  endif()
  set(before "#define BENCHFS_OWN_IN(name, file) name##_##file
#define BENCHFS_OWN_(name, file) BENCHFS_OWN_IN(name, file)
#define BENCHFS_OWN(name) BENCHFS_OWN_(name, BENCHFS_FILE)\n")
  set(after "")
  foreach(name IN LISTS BENCHFS_OWN_NAMES)
    string(APPEND before "#define ${name} BENCHFS_OWN(${name})\n")
    string(APPEND after "#undef ${name}\n")
  endforeach()
  set_target_properties(${target} PROPERTIES
    UNITY_BUILD ON
    UNITY_BUILD_BATCH_SIZE 8
    UNITY_BUILD_UNIQUE_ID BENCHFS_FILE
    UNITY_BUILD_CODE_BEFORE_INCLUDE "${before}"
    UNITY_BUILD_CODE_AFTER_INCLUDE "${after}")
  # What one file of the batch hides from another is none of its business.
  target_compile_options(${target} PRIVATE -Wno-shadow)
endfunction()

# benchfs_compile_alone(a.cc …): files of this folder that are never part of a batch.
function(benchfs_compile_alone)
  set_source_files_properties(${ARGN} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()
