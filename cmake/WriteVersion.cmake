# Writes the version header; touches it only when its content changes.
cmake_minimum_required(VERSION 3.21)
execute_process(COMMAND git describe --always --dirty --abbrev=12
  WORKING_DIRECTORY ${SOURCE} OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT commit)
  set(commit "unknown")
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT
"#define RF_VERSION \"@VERSION@\"
#define RF_GIT_COMMIT \"@commit@\"
#define RF_COMPILER \"@COMPILER@\"
#define RF_BUILD_TYPE \"@BUILD@\"
" @ONLY)
