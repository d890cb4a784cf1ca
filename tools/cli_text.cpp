#include "tools/cli_text.h"

#include <algorithm>
#include <cctype>
#include <regex>
#include <sstream>
#include <vector>

#include "core/version.h"

namespace tern::cli {
namespace {

/// All commands of `app`, used or not.
std::vector<const CLI::App*> commands_of(const CLI::App& app) { return app.get_subcommands([](const CLI::App*) { return true; }); }

std::vector<std::string> spellings(const CLI::Option& option) {
  std::vector<std::string> all;
  for (const std::string& name : option.get_snames()) all.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) all.push_back("--" + name);
  return all;
}

bool is_flag(const CLI::Option& option) { return option.get_type_name().empty(); }

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

/// What an option takes, from its type: "auto|cpu|cuda[:I]", "[RUN|auto]", "FILE.csv", or CLI11's own "TEXT:{a,b}".
struct Values {
  std::vector<std::string> words;
  bool files = false, folders = false;
};

Values values_of(const CLI::Option& option) {
  std::string type = option.get_positional() ? option.get_name(true) : "";
  const std::string own = option.get_type_name();
  const size_t set = own.find('{');
  const bool listed = set != std::string::npos || own.find('|') != std::string::npos;
  type += "|" + (set == std::string::npos ? own : own.substr(set + 1, own.find('}') - set - 1));
  Values values;
  std::istringstream parts(std::regex_replace(type, std::regex("[|,]"), "\n"));
  for (std::string part; std::getline(parts, part);) {
    part = std::regex_replace(part, std::regex("^\\[|\\[.*|\\]$"), "");  // "[RUN", "cuda[:I]", "auto]"
    if (listed && std::regex_match(part, std::regex("[a-z][a-z0-9-]*"))) values.words.push_back(part);
    for (const char* name : {"FILE", "RUN", "CONFIG", "CHECKPOINT"}) values.files |= part.starts_with(name);
    values.folders |= part == "DIR";
  }
  return values;
}

/// bash that fills `words` and `kind` for a command: what may stand next.
void complete_command(const CLI::App& app, const std::string& path, std::string& values, std::string& names) {
  std::vector<std::string> options, next;
  bool files = false, folders = false;
  for (const CLI::Option* option : app.get_options()) {
    const Values takes = values_of(*option);
    if (option->get_positional()) {
      next.insert(next.end(), takes.words.begin(), takes.words.end());
      files |= takes.files;
      folders |= takes.folders;
      continue;
    }
    const std::vector<std::string> all = spellings(*option);
    options.insert(options.end(), all.begin(), all.end());
    if (is_flag(*option)) continue;
    std::string patterns;
    for (const std::string& name : all) patterns += (patterns.empty() ? "\"" : "|\"") + path + " " + name + "\"";
    const std::string kind = takes.files ? "file" : takes.folders ? "directory" : "";
    const bool may_stand_alone = option->get_type_name().starts_with('[');
    values += "    " + patterns + ") words='" + joined(takes.words, " ") + "' kind='" + kind + "' value=" + (may_stand_alone ? "maybe" : "yes") + " ;;\n";
  }
  for (const CLI::App* command : commands_of(app)) {
    next.push_back(command->get_name());
    complete_command(*command, path + " " + command->get_name(), values, names);
  }
  names += "    \"" + path + "\") options='" + joined(options, " ") + "' next='" + joined(next, " ") + "' place='" +
           (files ? "file" : folders ? "directory" : "") + "' ;;\n";
}

void list_paths(const CLI::App& app, const std::string& path, std::string& out) {
  for (const CLI::App* command : commands_of(app)) {
    const std::string next = path + " " + command->get_name();
    out += "      \"" + next + "\") path=\"" + next + "\" ;;\n";
    list_paths(*command, next, out);
  }
}

/// For man(7): hyphens as they are typed, no escapes or requests by accident.
std::string roff(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool line_start = i == 0 || text[i - 1] == '\n';
    if (line_start && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\') out += "\\e";
    else if (c == '-') out += "\\-";
    else if (c == '~') out += "\\(ti";
    else if (c == '^') out += "\\(ha";
    else if (c == '\'') out += "\\(aq";
    else if (c == '`') out += "\\(ga";
    else out += c;
  }
  return out;
}

std::string synopsis(const CLI::App& app, const std::string& path) {
  std::string text = ".B " + roff(path) + "\n";
  for (const CLI::Option* option : app.get_options())
    if (option->get_positional())
      text += option->get_required() ? "\\fI" + roff(option->get_name(true)) + "\\fR\n" : "[\\fI" + roff(option->get_name(true)) + "\\fR]\n";
  return text + "[\\fIoptions\\fR]\n";
}

std::string option_list(const CLI::App& app) {
  std::string text;
  for (const CLI::Option* option : app.get_options()) {
    std::string names = option->get_positional() ? "\\fI" + roff(option->get_name(true)) + "\\fR" : "";
    for (const std::string& name : spellings(*option)) names += (names.empty() ? "" : ", ") + ("\\fB" + roff(name) + "\\fR");
    if (!option->get_positional() && !is_flag(*option)) names += " \\fI" + roff(option->get_type_name()) + "\\fR";
    std::string what = option->get_description();
    if (!option->get_default_str().empty()) what += " (default: " + option->get_default_str() + ")";
    text += ".TP\n" + names + "\n" + roff(what) + "\n";
  }
  return text;
}

void command_list(const CLI::App& app, const std::string& path, std::string& out) {
  for (const CLI::App* command : commands_of(app)) {
    const std::string next = path + " " + command->get_name();
    if (commands_of(*command).empty()) out += ".SS " + roff(next) + "\n" + synopsis(*command, next) + ".PP\n" + roff(command->get_description()) + ".\n" + option_list(*command);
    command_list(*command, next, out);
  }
}

/// The footer's lines under "Examples:", and what follows "Exit codes:".
void footer_sections(const CLI::App& app, std::string& examples, std::string& exit_codes) {
  std::istringstream lines(app.get_footer());
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("Exit codes: ")) exit_codes = line.substr(12);
    else if (line.starts_with("  ")) examples += line.substr(2) + "\n";
  }
  for (const CLI::App* command : commands_of(app)) {
    std::string ignored;
    footer_sections(*command, examples, ignored);
  }
}

}  // namespace

std::string bash_completion(const CLI::App& app) {
  const std::string name = app.get_name();
  std::string values, names, paths;
  complete_command(app, name, values, names);
  list_paths(app, name, paths);
  return "# bash completion for " + name + ", made from its option tables; `source` it.\n_tern_" + name + R"(() {
  local current=${COMP_WORDS[COMP_CWORD]} last=${COMP_WORDS[COMP_CWORD - 1]} path=)" + name + R"( i
  local words= kind= value=no options= next= place=
  # bash splits --option=value into three words.
  if [[ $current == = ]]; then current=; elif [[ $last == = ]]; then last=${COMP_WORDS[COMP_CWORD - 2]}; fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$path ${COMP_WORDS[i]}" in
)" + paths + R"(      *) ;;
    esac
  done
  case "$path $last" in
)" + values + R"(    *) ;;
  esac
  case "$path" in
)" + names + R"(  esac
  if [[ $value == no || ($value == maybe && $current == -*) ]]; then
    words=$next kind=$place
    if [[ $current == -* ]]; then words=$options kind=; fi
  fi
  COMPREPLY=()
  while IFS= read -r i; do COMPREPLY+=("$i"); done < <(compgen -W "$words" -- "$current")
  if [[ -n $kind ]]; then
    compopt -o filenames 2>/dev/null
    while IFS= read -r i; do COMPREPLY+=("$i"); done < <(compgen -A "$kind" -- "$current")
  fi
}
complete -F _tern_)" + name + " " + name + "\n";
}

std::string man_page(const CLI::App& app) {
  std::string title = app.get_name();
  std::ranges::transform(title, title.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  std::string commands, examples, exit_codes;
  command_list(app, app.get_name(), commands);
  footer_sections(app, examples, exit_codes);
  std::string page = ".TH " + title + " 1 \"\" \"tern " + std::string(version()) + "\" \"User Commands\"\n.SH NAME\n" + roff(app.get_name()) + " \\- " +
                     roff(app.get_description()) + "\n.SH SYNOPSIS\n" + synopsis(app, app.get_name()) + ".SH OPTIONS\n" + option_list(app);
  if (!commands.empty()) page += ".SH COMMANDS\n" + commands;
  if (!examples.empty()) page += ".SH EXAMPLES\n.nf\n" + roff(examples) + ".fi\n";
  if (!exit_codes.empty()) page += ".SH EXIT STATUS\n" + roff(exit_codes) + "\n";
  return page;
}

}  // namespace tern::cli
