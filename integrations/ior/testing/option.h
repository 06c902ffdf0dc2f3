/* Stand-in for IOR's option.h: what the back end uses of it, in our own words. */
#pragma once

typedef enum { OPTION_FLAG, OPTION_OPTIONAL_ARGUMENT, OPTION_REQUIRED_ARGUMENT } option_value_type;

typedef struct option_help_entry {
  char shortVar;
  char *longVar, *help;
  option_value_type arg;
  char type;
  void* variable;
} option_help;

// clang-format off
#define LAST_OPTION {0, NULL, NULL, OPTION_FLAG, 0, NULL}
// clang-format on
