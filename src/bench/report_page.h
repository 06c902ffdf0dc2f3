// The page of a report, report_page.html, with @REPORT@ where the JSON belongs. The build makes the
// source from the page.
#pragma once

#include <string_view>

namespace benchfs::bench {

extern const std::string_view kReportPage;

}  // namespace benchfs::bench
