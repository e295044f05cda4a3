# rf_add_layer(NAME [LAYERS below...] [LINK libraries...]) makes the targets rf_NAME (rf_real = float) and
# rf_NAME_f64 (rf_real = double, for gradient checks and golden data; absent without RF_F64) from src/NAME/*.c.
if(RF_F64)
  set(RF_TWIN _f64)
endif()
add_library(rf_options INTERFACE)
target_include_directories(rf_options INTERFACE ${PROJECT_SOURCE_DIR}/include)
target_compile_definitions(rf_options INTERFACE _GNU_SOURCE $<$<BOOL:${RF_FAULTS}>:RF_FAULTS>)
# No contraction into fused multiply-adds that the source does not name, no reassociation: the bits of a
# loop do not depend on how it was vectorised.
target_compile_options(rf_options INTERFACE
  -ffp-contract=off -fno-math-errno -fopenmp-simd -g
  $<$<BOOL:${RF_NATIVE}>:-march=native>
  -Wall -Wextra -Wshadow -Wconversion -Wmissing-prototypes -Wvla
  $<$<BOOL:${RF_WERROR}>:-Werror>
  $<$<BOOL:${RF_SANITIZE}>:-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer>)
target_link_options(rf_options INTERFACE $<$<BOOL:${RF_SANITIZE}>:-fsanitize=address,undefined>)
target_link_libraries(rf_options INTERFACE MPI::MPI_C OpenMP::OpenMP_C Threads::Threads m)

function(rf_add_layer name)
  cmake_parse_arguments(ARG "" "" "LAYERS;LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.c)
  foreach(suffix "" ${RF_TWIN})
    add_library(rf_${name}${suffix} STATIC ${sources})
    target_include_directories(rf_${name}${suffix} PRIVATE ${PROJECT_SOURCE_DIR}/src/${name})
    list(TRANSFORM ARG_LAYERS REPLACE "(.+)" "rf_\\1${suffix}" OUTPUT_VARIABLE layers)
    target_link_libraries(rf_${name}${suffix} PUBLIC rf_options ${layers} ${ARG_LINK})
  endforeach()
  if(RF_TWIN)
    target_compile_definitions(rf_${name}_f64 PRIVATE RF_DOUBLE)
  endif()
endfunction()

# rf_add_program(NAME source...) makes the program NAME and its double-precision twin NAME-f64.
function(rf_add_program name)
  add_executable(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE rf_cli)
  if(RF_TWIN)
    add_executable(${name}-f64 ${ARGN})
    target_link_libraries(${name}-f64 PRIVATE rf_cli_f64)
    target_compile_definitions(${name}-f64 PRIVATE RF_DOUBLE)
  endif()
endfunction()

# The version header, refreshed at every build so that the commit is always the one built.
add_custom_target(rf_version_header
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${PROJECT_SOURCE_DIR} -DOUTPUT=${PROJECT_BINARY_DIR}/generated/rf_version.h
          -DVERSION=${PROJECT_VERSION} "-DCOMPILER=${CMAKE_C_COMPILER_ID} ${CMAKE_C_COMPILER_VERSION}"
          -DBUILD=${CMAKE_BUILD_TYPE} -P ${PROJECT_SOURCE_DIR}/cmake/WriteVersion.cmake
  BYPRODUCTS ${PROJECT_BINARY_DIR}/generated/rf_version.h)
add_library(rf_version INTERFACE)
target_include_directories(rf_version INTERFACE ${PROJECT_BINARY_DIR}/generated)
add_dependencies(rf_version rf_version_header)
