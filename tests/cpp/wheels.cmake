# For CMAKE_PROJECT_INCLUDE where ROS 2 comes from wheels: Fast DDS names a library by its path on
# the machine that built the wheel, and has it inside. An installed ROS 2 needs nothing of this.
macro(forget_missing_libraries)
  foreach(target fastrtps fastdds)  # its name until Jazzy, and since Kilted
    if(TARGET ${target})
      get_target_property(libraries ${target} INTERFACE_LINK_LIBRARIES)
      foreach(library IN LISTS libraries)
        if(IS_ABSOLUTE "${library}" AND NOT EXISTS "${library}")
          list(REMOVE_ITEM libraries "${library}")
        endif()
      endforeach()
      set_target_properties(${target} PROPERTIES INTERFACE_LINK_LIBRARIES "${libraries}")
    endif()
  endforeach()
endmacro()
cmake_language(DEFER CALL forget_missing_libraries)
