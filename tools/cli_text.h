#pragma once
#include <CLI/CLI.hpp>
#include <string>

namespace tern::cli {

/// A bash script that completes the command line of `app`, whose name is the program's: commands, options, the words that
/// an option's type lists ("auto|cpu|cuda[:I]"), files and folders elsewhere. To be sourced.
std::string bash_completion(const CLI::App& app);

/// The program's manual page in man(7)'s macros, section 1; examples and exit codes are taken from the footer.
std::string man_page(const CLI::App& app);

}  // namespace tern::cli
